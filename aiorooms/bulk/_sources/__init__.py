"""The inputs for a plan: the rows of a file, or a selection of rooms of the account."""
