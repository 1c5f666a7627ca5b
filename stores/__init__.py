"""Keeps: named byte strings behind one small contract (`stores.base`). Imports nothing else of ours."""
