"""What the counters of a `CounterBank` add up."""

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Shape

STROBE = range(0, 2)


@dataclass(frozen=True, kw_only=True)
class Balance:
    """A counter without steps: the sum of other counters less that of others, for numbers that fit into half of the width.

    ``came``, ``went``: names of counters between the last `Balance` and this one.
    """

    came: tuple[str, ...]
    went: tuple[str, ...]


def accumulator_shape(step: range, clocks: int) -> Shape:
    """Smallest shape that holds every sum of ``clocks`` steps."""
    return Shape.cast(range(min(step.start * clocks, 0), max((step.stop - 1) * clocks, 1) + 1))


def check_steps(steps: Mapping[str, range | Balance]) -> None:
    """ValueError for a step that is no range of whole numbers, or a balance over other counters than it may be."""
    before: set[str] = set()
    for name, step in steps.items():
        if isinstance(step, Balance):
            if unknown := {*step.came, *step.went} - before:
                raise ValueError(
                    f"CounterBank: the balance {name} is over {', '.join(sorted(unknown))}; "
                    "allowed: counters between the last balance and this one"
                )
            before = set()
        elif not step or step.step != 1 or step == range(0, 1):
            raise ValueError(
                f"CounterBank: {name} has the steps {step}; allowed: a range like range(0, 2) or range(-2, 3)"
            )
        else:
            before.add(name)
