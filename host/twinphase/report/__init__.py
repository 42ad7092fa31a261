"""The report of a run: summary.json, plots, and one self-contained page."""
