"""The bit-exact numpy reference model; rooms are named as in the gateware. Source: spec and docs/contract.md alone."""
