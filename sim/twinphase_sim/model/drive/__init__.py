"""The phase actuator and the drivers of its DAC, clock by clock. Source: docs/actuator.md."""
