"""What the API does for each of its operations, a module for each resource. Pure: no sockets, no clock of its own.

`.._routes` says which function answers which request; `call` and `lists` hold what the operations share.
"""
