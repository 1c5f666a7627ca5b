"""Shows: one import from nothing to verified bytes. It ships, so that an installed Tranship can show itself."""
