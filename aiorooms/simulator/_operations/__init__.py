"""The operations of the API, one module for each resource. They do no I/O, and read the clock of the account.

`.._routes` maps requests to operations. `call` and `lists` contain code that the operations share.
"""
