"""``eventgraph pipes``: watch, send, receive, announce.

::

    commands                           as the command line has them
    send  recv  watch  announcement    what each does
    listing  lines  options            what they print, read, and take
"""
