"""Heralds, psi records, symbols and the clients' sifting."""
