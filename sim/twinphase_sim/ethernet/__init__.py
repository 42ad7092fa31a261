"""A virtual node on a network of the operating system: a namespace of its own, a TAP interface in it, and what goes wrong there."""
