"""Knows: images, locations, tasks and the fenced lock, as rows. The only room with SQL in it."""
