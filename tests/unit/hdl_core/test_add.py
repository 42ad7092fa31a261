"""Several sums in one carry chain, and counting by a shift register, against plain integers."""

from __future__ import annotations

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_hdl.core.add import sums_in_one_chain
from twinphase_hdl.core.shiftcounter import TAPS, next_state, state_after, width_for

terms_of = st.integers(1, 5).flatmap(
    lambda bits: st.tuples(
        st.integers(0, (1 << bits) - 1), st.just(bits), st.integers(0, 7), st.just(3), st.integers(0, 1)
    )
)


@settings(max_examples=30, deadline=None)
@given(terms=st.lists(terms_of, min_size=1, max_size=5))
def test_sums_in_one_chain(terms: list[tuple[int, int, int, int, int]]) -> None:
    """Neighbours of different lengths do not disturb each other."""
    m = Module()
    wires = [(Signal(la, init=a), Signal(lb, init=b), Signal(init=c)) for a, la, b, lb, c in terms]
    found = sums_in_one_chain(wires)
    seen = []

    async def look(ctx) -> None:
        seen.extend(ctx.get(value) for value in found)

    simulator = Simulator(m)
    simulator.add_testbench(look)
    simulator.run()
    assert seen == [a + b + c for a, _, b, _, c in terms]
    assert [len(value) for value in found] == [max(la, lb) + 1 for _, la, _, lb, _ in terms]


@pytest.mark.parametrize("width", sorted(TAPS))
def test_states_are_all_different(width: int) -> None:
    states = {state_after(1, width)}
    state, count = state_after(1, width), 1
    while state != 1:
        bit = sum(state >> tap - 1 for tap in TAPS[width]) & 1
        state = (state << 1 | bit) & (1 << width) - 1
        states.add(state)
        count += 1
    assert count == len(states) == (1 << width) - 1
    assert width_for(count) == width


def test_gateware_takes_the_same_steps() -> None:
    m = Module()
    state = Signal(12, init=1)
    m.d.sync += state.eq(next_state(state))
    seen = []

    async def look(ctx) -> None:
        for _ in range(50):
            seen.append(ctx.get(state))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(8e-9)
    simulator.add_testbench(look)
    simulator.run()
    assert seen == [state_after(steps, 12) for steps in range(50)]


def test_refuses() -> None:
    with pytest.raises(ValueError, match="steps is 65536; allowed: 1 to 65535"):
        width_for(1 << 16)
