"""The bin in which the span ends: who gets its other entry, and when."""

from __future__ import annotations

from typing import Any

from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_hdl.timetag.spanend import SpanEnd

CODE_BITS, LANES = 3, 2
CLOCK = st.fixed_dictionaries(
    {
        "places": st.tuples(*[st.integers(0, (2 << CODE_BITS) - 1)] * LANES),
        "busy": st.booleans(),
        "found": st.one_of(
            st.none(), st.none(), st.tuples(st.integers(0, (2 << CODE_BITS) - 1), st.integers(0, 65535))
        ),
        "forgets": st.sampled_from([False] * 7 + [True]),
        "opens": st.sampled_from([False, False, True]),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(CLOCK, min_size=4, max_size=60))
def test_entries_are_given_where_they_are_opened(clocks: list[dict[str, Any]]) -> None:
    """Each lane against a plain statement: a strobe acts from the next clock on, ``i_busy`` on the inputs of the clock before."""
    expected: list[list[int | None]] = []
    ends: list[tuple[int, int] | None] = [None, None]
    opened = False
    for k, clock in enumerate(clocks):
        if k:
            row: list[int | None] = []
            for place in clocks[k - 1]["places"]:
                end = ends[place >> CODE_BITS]
                hit = end is not None and end[0] == place % (1 << CODE_BITS) and opened and not clock["busy"]
                row.append(end[1] if hit and end is not None else None)
            expected.append(row)
        if clock["found"]:
            place, entry = clock["found"]
            ends[place >> CODE_BITS] = (place % (1 << CODE_BITS), entry)
        opened |= clock["opens"]
        if clock["forgets"]:
            ends, opened = [None, None], False
    dut: Any = SpanEnd(code_bits=CODE_BITS, lanes=LANES)
    got: list[list[int | None]] = []

    async def script(ctx: Any) -> None:
        for clock in clocks:
            for lane, place in enumerate(clock["places"]):
                ctx.set(dut.i_place[lane], place)
            found = clock["found"]
            ctx.set(dut.i_busy, clock["busy"])
            ctx.set(dut.i_found, found is not None)
            ctx.set(dut.i_found_place, found[0] if found else 0)
            ctx.set(dut.i_found_entry, found[1] if found else 0)
            ctx.set(dut.i_forgets, clock["forgets"])
            ctx.set(dut.i_opens, clock["opens"])
            await ctx.tick()
            got.append([ctx.get(dut.o_entry[k]) if ctx.get(dut.o_takes) >> k & 1 else None for k in range(LANES)])

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(script)
    simulator.run()
    assert got[1:] == expected
