"""Asks: turns an HTTP request of Image API v2 into rows and a wake-up call; does no long work."""
