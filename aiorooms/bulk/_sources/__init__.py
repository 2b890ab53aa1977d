"""The inputs of a plan: rows of a file, or a selection from the account."""
