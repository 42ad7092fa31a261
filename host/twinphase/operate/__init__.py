"""A pair on three nodes that wait for it: settings from a lab file, secrets, messages between the nodes, start and stop."""
