"""Measures: the real import path beside a shell pipe on the same files, its memory, and where its CPU time goes."""
