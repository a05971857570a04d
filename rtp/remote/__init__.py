"""A server that runs, asked over HTTP by the commands.

::

    graph  composition  latency        one answer
    tap  record                        events as they pass
    seen_events                        what they look like
    asking                             requests, and what goes wrong with them
"""
