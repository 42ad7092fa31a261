"""Formal proof of the herald code's round trip, and wrong coders that it must reject."""

import pytest
from amaranth.hdl import C, Value
from amaranth.sim import Simulator
from herald_code_proof import WAITS, HeraldCodeProof
from sby import run_proof

from twinphase_hdl.sift.codepairs import CodePairs
from twinphase_hdl.sift.golomb import GolombCoder

DEPTH, DEPTH_OF_THREE = 47, 54
"""Clocks; a packet of two heralds takes up to 43 if nothing waits, one of three 51."""
DIVISORS = (1, 2, 3)


class LongerTooSoon(GolombCoder):
    """Gives the last remainder that has the short form the long one."""

    def _is_shorter(self, remainder, t):
        return remainder + 1 < t


class NeverInFull(GolombCoder):
    """Writes of a quotient beyond the escape what its bits hold."""

    def _is_in_full(self, gap, limit):
        return C(0)


class InFullTooLate(GolombCoder):
    """Gives the first gap that is coded in full a quotient."""

    def _is_in_full(self, gap, limit):
        return gap > limit


class SecondTooEarly(CodePairs):
    """Writes the second code of a pair over the last bit of the first."""

    def _place(self, length: Value) -> Value:
        return super()._place(length - 1)


@pytest.mark.parametrize("m", DIVISORS)
def test_a_packet_ends_within_the_depth(m: int) -> None:
    """By simulation, if nothing waits: a check of the harness itself."""
    for gap in (0, 5, 4 * m - 1, 4 * m, 15):
        proof = HeraldCodeProof(m=m, depth=DEPTH)
        clocks: list[int] = []

        async def bench(context, proof=proof, gap=gap, clocks=clocks) -> None:
            context.set(proof.gap, gap)
            context.set(proof.detector, gap & 1)
            for clock in range(DEPTH - 2):
                if context.get(proof.done):
                    clocks.append(clock)
                    break
                await context.tick()

        simulator = Simulator(proof)
        simulator.add_clock(8e-9)
        simulator.add_testbench(bench)
        simulator.run()
        assert clocks, f"gap {gap}: no end within {DEPTH - 2} clocks"


@pytest.mark.long
@pytest.mark.parametrize("m", DIVISORS)
def test_round_trip(m: int) -> None:
    """Any gap, whatever waits, whenever it does."""
    result = run_proof(HeraldCodeProof(m=m, depth=DEPTH, waits=WAITS), mode="bmc", depth=DEPTH, registers=True)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.long
@pytest.mark.parametrize(("pairs", "status"), [(CodePairs, "PASS"), (SecondTooEarly, "FAIL")])
def test_round_trip_of_pairs(pairs: type[CodePairs], status: str) -> None:
    """Three heralds one behind the other, of which the codes of the last two may become a pair: with m = 1, those of gaps of 0."""
    proof = HeraldCodeProof(pairs=pairs, m=1, heralds=3, depth=DEPTH_OF_THREE)
    result = run_proof(proof, mode="bmc", depth=DEPTH_OF_THREE, registers=True)
    assert result.status == status, result.log[-2000:]


@pytest.mark.long
@pytest.mark.parametrize("wrong", [LongerTooSoon, NeverInFull, InFullTooLate])
def test_wrong_coders_are_rejected(wrong: type[GolombCoder]) -> None:
    result = run_proof(HeraldCodeProof(wrong, m=3, depth=DEPTH), mode="bmc", depth=DEPTH, registers=True)
    assert result.status == "FAIL", result.log[-2000:]
