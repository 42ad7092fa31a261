"""The virtual lab: physics, the Verilated nodes and the classical messages between them."""
