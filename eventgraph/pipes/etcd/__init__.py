"""The registry in an etcd, for more than one machine: its v3 JSON gateway, through httpx.

From the top down, each needing only those below it::

    opening             the connection
    view  lease  pulse  what stands there; what we have there; whether it lives
    read                a range in pages
    gateway             calls: members, tokens, time limits
    http  tls           bounded HTTP, and its certificates
    refusal             errors that say what to do
    messages  address   the protocol, and the URL
"""
