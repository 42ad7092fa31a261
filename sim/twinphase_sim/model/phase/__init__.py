"""CORDIC, reference counts and the phase tracker."""
