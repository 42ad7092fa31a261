"""Ways to a node: packets over UDP or a serial port."""
