"""Bounds harness of phase tracking: scenarios, clicks, estimators, and a judge that holds them against the physical optimum."""
