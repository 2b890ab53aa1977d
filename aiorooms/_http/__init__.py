"""The HTTP layer: send a request, retry it if needed, and return its outcome."""
