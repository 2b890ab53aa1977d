"""What the API does for each of its operations, a module for each resource."""
