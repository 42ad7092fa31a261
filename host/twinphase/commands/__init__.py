"""One module per command of the host library; see `twinphase.cli`."""
