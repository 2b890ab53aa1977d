"""The operations of the API, one module for each resource. Pure: no sockets, and no clock of their own.

`.._routes` maps requests to operations; `call` and `lists` have the code that the operations share.
"""
