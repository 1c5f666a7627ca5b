"""Moves: each byte once, from a source through taps to every store. Knows no SQL, no Celery and no HTTP server."""
