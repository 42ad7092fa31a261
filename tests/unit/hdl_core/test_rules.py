"""The stream assertions: silent on a correct stream, loud on both ways to break the promise."""

import pytest
from amaranth.sim import Simulator

from twinphase_hdl.core.rules import StreamRules


def play(steps: list[tuple[int, int, int, int]]) -> None:
    """(payload, valid, ready, release) per clock."""
    rules = StreamRules(8, "watched")

    async def bench(ctx) -> None:
        for payload, valid, ready, release in steps:
            ctx.set(rules.i_payload, payload)
            ctx.set(rules.i_valid, valid)
            ctx.set(rules.i_ready, ready)
            ctx.set(rules.i_release, release)
            await ctx.tick()
        await ctx.tick()

    simulator = Simulator(rules)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_held_word_may_wait_and_go() -> None:
    play([(1, 1, 0, 0), (1, 1, 0, 0), (1, 1, 1, 0), (2, 1, 1, 0), (9, 0, 0, 0), (3, 1, 0, 1), (4, 0, 0, 0)])


@pytest.mark.parametrize(
    ("second", "text"), [((1, 0, 0, 0), "valid fell before the transfer"), ((2, 1, 0, 0), "payload changed before")]
)
def test_a_broken_promise_is_caught(second: tuple[int, int, int, int], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        play([(1, 1, 0, 0), second])
