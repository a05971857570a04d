"""The commands of ``eventgraph flows``.

``commands`` says what each takes, ``options`` what all take; the rest is imported when it is run.
"""
