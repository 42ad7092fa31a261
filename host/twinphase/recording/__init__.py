"""Recordings: tags as PTU, other streams as Parquet parts, everything else as JSON; written while streaming, read back
as a device."""
