"""Formulas of twin-field QKD: key rates, bounds, estimators, intervals. numpy and scipy only."""
