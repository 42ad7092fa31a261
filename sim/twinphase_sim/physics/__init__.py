"""Physics of a twin-field pair: what light, fibre, lasers and detectors do. Nothing here knows the gateware."""
