"""Ways to a node: packets over UDP, a serial port or USB."""
