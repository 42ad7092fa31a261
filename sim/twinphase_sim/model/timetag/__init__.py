"""Tagger channels and the time-ordered merge."""
