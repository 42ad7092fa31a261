"""Phase estimators in floating point, one per file, all behind the contract of `twinphase_sim.tracking.contract`."""
