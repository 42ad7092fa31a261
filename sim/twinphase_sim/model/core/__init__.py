"""Timebase and framer."""
