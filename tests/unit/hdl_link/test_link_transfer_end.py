"""Marks of transfers' ends, against what the clocks of bytes say."""

import numpy as np
import pytest
from link_bench import collect, run

from twinphase_hdl.link.transferend import TransferEnd

IDLE, TRANSFER = 12, 150


def put(port, items, gaps, came):
    """Bytes, each after so many clocks more; notes the clock of each."""

    async def process(context):
        clock = 0
        for item, gap in zip(items, gaps, strict=True):
            if gap:
                await context.tick().repeat(int(gap))
            clock += gap
            context.set(port.payload, item)
            context.set(port.valid, 1)
            while True:
                _, _, ready = await context.tick().sample(port.ready)
                clock += 1
                if ready:
                    break
            came.append(clock)
            context.set(port.valid, 0)

    return process


def byte(payload):
    return int(payload["data"]), int(payload["last"])


@pytest.mark.parametrize(("pause", "seed"), [(0.0, 1), (0.3, 2), (0.9, 3)])
def test_all_bytes_pass_and_pauses_end_transfers(pause, seed):
    dut, out, came = TransferEnd(idle_clocks=IDLE, transfer_clocks=100_000), [], []
    random = np.random.default_rng(seed)
    sent = random.integers(0, 256, 300).tolist()
    gaps = random.choice([0, 0, 0, 0, 0, 0, 3, IDLE - 2, IDLE + 2, 4 * IDLE], 300)
    run(dut, put(dut.i, sent, gaps, came), collect(dut.o, out, pause=pause, read=byte), settle=200)
    assert [value for value, _ in out] == sent
    lasts = [last for _, last in out]
    assert lasts[-1] == 1
    # The next byte was there IDLE clocks later, or was not.
    ended = [int(gap > IDLE) for gap in gaps[1:]]
    if pause == 0:
        assert lasts[:-1] == ended
    else:  # none ends too soon; where the reader was slow, the next byte may have come before the last one could go
        assert all(gap >= IDLE - 1 for last, gap in zip(lasts[:-1], gaps[1:], strict=True) if last)


def test_bytes_that_never_pause_are_ended_all_the_same():
    dut, out, came = TransferEnd(idle_clocks=IDLE, transfer_clocks=TRANSFER), [], []
    count = 3 * TRANSFER
    sent = [n & 0xFF for n in range(count)]
    run(dut, put(dut.i, sent, [0] * count, came), collect(dut.o, out, read=byte))
    ends = [n for n, (_, last) in enumerate(out) if last]
    assert [value for value, _ in out] == sent
    lengths = np.diff([-1, *ends])
    assert len(ends) == 3
    assert all(TRANSFER - 2 <= length <= TRANSFER + 2 for length in lengths)


def test_a_byte_per_clock_passes():
    dut, out, came = TransferEnd(idle_clocks=IDLE, transfer_clocks=100_000), [], []
    run(dut, put(dut.i, [7] * 200, [0] * 200, came), collect(dut.o, out, read=byte))
    assert came[-1] - came[0] == 199


@pytest.mark.parametrize(("idle", "transfer"), [(0, 10), (-1, 10), (11, 10)])
def test_strange_clocks_are_refused(idle, transfer):
    with pytest.raises(ValueError, match="transfer end"):
        TransferEnd(idle_clocks=idle, transfer_clocks=transfer)
