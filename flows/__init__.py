"""Orders: which steps an import method takes, how they are undone, and when a request for one is admitted."""
