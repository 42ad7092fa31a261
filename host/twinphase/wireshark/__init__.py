"""A dissector for Wireshark: its tables are made from the spec, its code is `dissector.lua`."""
