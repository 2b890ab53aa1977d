"""HTTP: from a request to its outcome."""
