"""cctv: cameras, watched in browsers and written to disk, connected only while somebody needs them.

__main__                            the command line
app                                 the program from start to end
edge  page/                         HTTP, and the page
site                                the graph of all cameras
    camera                              apex, camera, stream: the upper half of the hierarchy
    feeds  broadcaster  viewer          from a stream, by rule, to browsers
    disk_writer                         from a stream to files
    reader                              RTSP with FFmpeg, in a thread
        line                                the connection, which can be cut
pictures  sound  footage  backoff   pure parts
config                              the settings
"""
