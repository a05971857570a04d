"""The media server that people start, and its HTTP edge.

app                        everything from the start to the last Ctrl-C
demo  recordings           the demo graph, and the files it writes
composition                texts of the node language, shown and composed
welcome  ending            what is printed at the start; how a person ends it
gate  token  tls           who may come in, and what no answer lacks
access  authority          what each route needs, and what a token is good for
statistics                 what came, and what was refused
http  graph_view  problem  routes, forms of the graph, errors
live  links  page          the graph as it changes; links changed; the page that shows it
rules  rules_file          rules of streams, and the file that keeps them
connection  connections    one with Hypercorn's protocol; all of them, and an end to them
config_file  config        settings
errors
"""
