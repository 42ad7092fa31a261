"""A pair's sifting as the host sees it: blocks from the streams, counter cells recomputed, errors, costs, keys."""
