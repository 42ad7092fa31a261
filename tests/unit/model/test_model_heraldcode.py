"""Model of the herald coder against the host's decoder: both are made from docs/heralds.md."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.herald_code import HeraldCodeError, decode
from twinphase.packets import Decoder, pack
from twinphase_sim.model.sift.herald import herald_pulses, herald_records
from twinphase_sim.model.sift.heraldcode import divisors, payload, payloads
from twinphase_spec.herald_code import BATCH, FIRST, SETTLE, Divisor, bound_bits, divisor_of_batch
from twinphase_spec.packets import Stream
from twinphase_spec.registers import SERVER

TOP = (1 << 56) - 1


def heralds_of(gaps, seed=0, first=0):
    pulses = first + np.cumsum(np.array(gaps, np.uint64) + np.uint64(1)) - np.uint64(1)
    return pulses, np.random.default_rng(seed).integers(0, 2, len(pulses)).astype(np.uint8)


GAP = st.one_of(
    st.integers(0, 40), st.integers(0, 1 << 14), st.integers(0, 1 << 40), st.sampled_from([15, 16, 17, (1 << 40) - 1])
)


@settings(max_examples=150, deadline=None)
@given(gaps=st.lists(GAP, min_size=1, max_size=120), byte=st.integers(0, 255), number=st.integers(0, (1 << 32) - 1))
def test_what_the_model_codes_the_host_decodes(gaps, byte, number):
    pulses, detectors = heralds_of(gaps, byte)
    words = payload(pulses, detectors, Divisor.of_byte(byte))
    got = decode(words, number, len(pulses))
    numbers = ((number + np.arange(len(pulses))) & 0xFFFFFFFF).astype(np.uint32)
    assert np.array_equal(got, herald_records(numbers, pulses, detectors))
    longest = 2 + -(-(1 + 73 * len(pulses)) // 32)
    assert len(words) <= longest


@pytest.mark.parametrize("byte", [0, 8, 12, 13, 16, 101, 255])
def test_gaps_around_the_escape(byte):
    m = Divisor.of_byte(byte).m
    gaps = [16 * m - 1, 16 * m, 15 * m, 15 * m - 1, m, m - 1, 0, (1 << 55) - 1, 0, 16 * m + 1]
    pulses, detectors = heralds_of(gaps)
    assert np.array_equal(herald_pulses(decode(payload(pulses, detectors, Divisor.of_byte(byte)), 5, 10))[0], pulses)


def test_a_divisor_comes_into_force_sixteen_heralds_after_its_batch():
    pulses, _ = heralds_of([9] * (BATCH + 1) + [99] * BATCH + [999] * BATCH)
    in_force = divisors(pulses, FIRST)
    assert len(in_force) == len(pulses)
    assert set(in_force[: BATCH + SETTLE]) == {FIRST}
    assert set(in_force[BATCH + SETTLE : 2 * BATCH + SETTLE]) == {divisor_of_batch(10 * BATCH)}
    assert set(in_force[2 * BATCH + SETTLE : 3 * BATCH + SETTLE]) == {divisor_of_batch(100 * BATCH)}
    assert divisors(pulses[:272], FIRST) == [FIRST] * 272


def test_the_code_of_bernoulli_clicks_is_within_one_percent_of_the_bound():
    """Mean of 20 000 heralds: a gap's code has a standard deviation of about 1.5 bits, so 5 standard errors are 0.053 bits; the
    bound is 15.73 bits at 1e-4, of which 1 % are 0.157, and the code itself is 0.2 % above. Heads are left out: N - 1 codes a packet."""
    p, count, each = 1e-4, 20_000, 400
    rng = np.random.default_rng(11)
    pulses = np.cumsum(rng.geometric(p, count)).astype(np.uint64)
    detectors = rng.integers(0, 2, count).astype(np.uint8)
    starts = np.arange(0, count, each)
    words = payloads(pulses, detectors, starts, FIRST)
    bits = sum(32 * (len(one) - 2) - 16 for one in words[1:])  # on average half a word is left over at the end
    assert bits / ((count - each) * (1 - 1 / each)) < 1.01 * bound_bits(p)


@settings(max_examples=150, deadline=None)
@given(gaps=st.lists(st.integers(0, 3000), min_size=2, max_size=60), data=st.data())
def test_a_damaged_packet_is_refused_or_gives_as_many_heralds(gaps, data):
    pulses, detectors = heralds_of(gaps)
    words = payload(pulses, detectors, Divisor(8, 3)).copy()
    change = data.draw(st.sampled_from(["bit", "short", "long", "count"]))
    count = len(pulses)
    if change == "bit":
        bit = data.draw(st.integers(0, 32 * len(words) - 1))
        words[bit // 32] ^= np.uint32(1 << bit % 32)
    elif change == "short":
        words = words[: data.draw(st.integers(0, len(words) - 1))]
    elif change == "long":
        words = np.append(words, np.uint32(data.draw(st.integers(0, (1 << 32) - 1))))
    else:
        count += data.draw(st.integers(1, 40))
    if change in ("bit", "count"):  # zeros at the end can be heralds, too
        with contextlib.suppress(HeraldCodeError):
            assert len(decode(words, 0, count)) == count
        return
    with pytest.raises(HeraldCodeError, match="drop the packet's rest") as error:
        decode(words, 0, count)
    before = error.value.records
    assert np.array_equal(herald_pulses(before)[0], pulses[: len(before)])


def test_pulses_beyond_the_last_one_are_refused():
    pulses = np.array([TOP - 5, TOP], np.uint64)
    words = payload(pulses, np.array([0, 1], np.uint8), Divisor(0, 0))
    assert np.array_equal(herald_pulses(decode(words, 0, 2))[0], pulses)
    moved = words.copy()
    moved[0] += 1
    with pytest.raises(HeraldCodeError, match="beyond the last pulse"):
        decode(moved, 0, 2)


def test_heralds_without_words_and_words_without_heralds_are_refused():
    assert not len(decode(np.zeros(0, np.uint32), 3, 0))
    for words, count in ((0, 1), (2, 1), (3, 0)):
        with pytest.raises(HeraldCodeError, match=f"{count} heralds in {words} words"):
            decode(np.zeros(words, np.uint32), 0, count)


def test_the_host_reads_the_stream_and_drops_damaged_packets():
    rng = np.random.default_rng(3)
    pulses = np.cumsum(rng.geometric(1e-3, 2000)).astype(np.uint64)
    detectors = rng.integers(0, 2, 2000).astype(np.uint8)
    starts = np.arange(0, 2000, 100)
    first = 0xFFFFFF00
    packets = [
        pack(
            Stream.HERALD_CODE, i, words.tobytes(), base_ticks=(1000 + i) << 13, first_record=first + 100 * i, flags=100
        )
        for i, words in enumerate(payloads(pulses, detectors, starts, FIRST))
    ]
    packets.append(pack(Stream.HERALD_CODE, 20, base_ticks=1020 << 13, first_record=first + 2000))
    packets[7] = packets[7][:-4]  # shorter than its header says
    damaged = bytearray(packets[9])
    damaged[8 * 4 + 12] ^= 0x40
    packets[9] = bytes(damaged)
    packets[11] = packets[11][:10] + b"\x77\x00" + packets[11][12:]  # another number of heralds
    decoder = Decoder(SERVER)
    batches = [decoder.decode(packets, now_s=0.0), decoder.finish()]
    got = np.concatenate([batch[Stream.HERALD_CODE] for batch in batches if Stream.HERALD_CODE in batch.records])
    numbers = ((first + np.arange(2000)) & 0xFFFFFFFF).astype(np.uint32)
    sent = herald_records(numbers, pulses, detectors)
    state = decoder.streams[Stream.HERALD_CODE]
    assert decoder.damage["length"] == 1
    assert decoder.damage["content"] >= 1
    intact = np.isin(got["number"], sent["number"])
    assert intact.all()
    assert len(got) + state.lost_records == 2000
    kept = np.isin(sent["number"], got["number"])
    at_fault = (np.arange(2000) // 100 == 9) & kept
    same = got == sent[kept]
    assert same[~at_fault[kept]].all()
    assert state.heartbeats == 1
    ticks = np.concatenate([b.packet_ticks[Stream.HERALD_CODE] for b in batches if Stream.HERALD_CODE in b.records])
    assert len(ticks) == len(got)
