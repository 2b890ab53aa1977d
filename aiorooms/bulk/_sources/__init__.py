"""What a plan is made from: the rows of a file, or a selection from the account."""
