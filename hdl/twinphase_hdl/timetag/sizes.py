"""Widths of an input channel."""

from dataclasses import dataclass

from twinphase_spec import tagger, units


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Widths of an input channel; others than the defaults are for proofs. ValueError for widths that do not fit together.

    ``walk_index_bits`` and ``walk_bits`` are address and data of the time-walk table. All times are modulo 2^order_bits ticks.
    """

    order_bits: int = tagger.ORDER_BITS
    fine_bits: int = units.FRACTION_BITS
    delay_bits: int = tagger.DELAY_BITS
    dead_time_bits: int = tagger.DEAD_TIME_BITS
    divider_bits: int = tagger.DIVIDER_BITS
    walk_bits: int = tagger.WALK_BITS
    walk_index_bits: int = (tagger.WALK_ENTRIES - 1).bit_length()
    walk_shift_bits: int = tagger.WALK_SHIFT_BITS
    lane_depth: int = tagger.LANE_DEPTH

    def __post_init__(self):
        if not self.walk_bits <= self.fine_bits:
            raise ValueError(
                f"input channel: walk_bits is {self.walk_bits}; allowed: at most fine_bits ({self.fine_bits}), "
                "so that a correction reaches back by half a clock at most"
            )
        for name in ("delay_bits", "dead_time_bits"):
            if not self.fine_bits < getattr(self, name) < self.order_bits - 1:
                raise ValueError(
                    f"input channel: {name} is {getattr(self, name)}; allowed: above fine_bits ({self.fine_bits}) "
                    f"and below order_bits - 1 ({self.order_bits - 1})"
                )
        if self.lane_depth < 4 or self.lane_depth & (self.lane_depth - 1):
            raise ValueError(f"input channel: lane_depth is {self.lane_depth}; allowed: a power of two from 4")
        for lanes in (1, 2):
            if self.near_bits(lanes) >= self.dead_time_bits:
                raise ValueError(
                    f"input channel: dead_time_bits is {self.dead_time_bits}; allowed: above {self.near_bits(lanes)}"
                )

    @property
    def coarse_bits(self) -> int:
        """Bits of a clock count within order_bits."""
        return self.order_bits - self.fine_bits

    @property
    def age_bits(self) -> int:
        """Bits of a clock count that tell apart all edges in a lane queue and behind it."""
        return (self.lane_depth + 1).bit_length()

    def near_bits(self, lanes: int) -> int:
        """Bits of the distance of edges in successive clocks behind the lane queue: one clock apart, or as far as it reaches."""
        return self.fine_bits + (self.age_bits if lanes == 2 else 1)
