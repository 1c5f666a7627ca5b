"""Starts: the command `tranship`, the only room above both `api` and `workers`."""
