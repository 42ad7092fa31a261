"""Packets and T2 words."""
