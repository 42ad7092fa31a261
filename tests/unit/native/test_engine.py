"""The native engine on a small stand-in node: skipping changes nothing, state persists, faults are one sentence."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from twinphase_sim.native import NativeNode, ToolchainError, toolchain
from twinphase_sim.native.node import advance, clocks_to_close
from twinphase_sim.native.rewrite import with_registers_in_place, with_short_memories
from twinphase_spec.frame import FRAME_BITS, LAG_CLOCKS, MIN_PERIOD_TICKS, PULSE_BITS, WINDOW_BITS, Anchor, FrameConfig
from twinphase_spec.units import CLOCK_BITS

sys.path.insert(0, str(Path(__file__).parent))
from standin import FRAME, standin_verilog

SEED = 20260


@pytest.fixture(scope="module")
def verilog() -> str:
    return standin_verilog()


def _node(verilog: str, skip: bool = True) -> NativeNode:
    node = NativeNode.from_verilog("server", verilog, skip=skip, progress=False)
    node.set_frame(FRAME, running=True)
    return node


def _stimulus(rng: np.random.Generator, first: int, length: int, edges: int, packets: int):
    clocks = first + np.unique(rng.integers(0, length, edges))
    channels = rng.integers(0, 4, len(clocks)).astype(np.uint8)
    fine = rng.integers(0, 8192, len(clocks))
    rx = [(first + int(at), rng.bytes(4 * int(rng.integers(1, 9)))) for at in np.sort(rng.integers(0, length, packets))]
    return (clocks.astype(np.uint64) << np.uint64(13)) + fine.astype(np.uint64), channels, rx


@pytest.mark.parametrize("seed", range(20))
def test_advance_equals_anchor_at(verilog: str, seed: int) -> None:
    rng = np.random.default_rng((SEED, seed))
    node = _node(verilog)
    frame = FrameConfig(
        period_q32=int(rng.integers(MIN_PERIOD_TICKS << 32, 131071 << 32)),
        slot_pulses=int(rng.integers(1, 100)),
        table=(1,) * int(rng.integers(41, 60)),
        frames_per_window=int(rng.integers(5000, 1 << 24)),
        windows_per_dwindow=int(rng.integers(2, 129)),
        start_clock=int(rng.integers(0, 1 << 40)),
    )
    start = frame.start_clock + LAG_CLOCKS
    for _ in range(20):
        first = start + int(rng.integers(0, 1 << int(rng.integers(1, 50))))
        clocks = int(rng.integers(0, 1 << int(rng.integers(1, 50))))
        first, clocks = first % (1 << 50), min(clocks, (1 << 50))
        first = max(first, start)
        begin = frame.anchor_at(first)
        assert advance(node, frame, begin, clocks) == frame.anchor_at(first + clocks)
        window = divmod(
            divmod((first - start << 45) // frame.period_q32, frame.frame_pulses)[0], frame.frames_per_window
        )[0]
        assert first + clocks_to_close(node, frame, begin) == frame.close_clock(window)


@pytest.mark.parametrize("duty", [None, 0.5, 0.05])
@pytest.mark.parametrize("wrap", [False, True])
def test_skipping_changes_no_word_and_no_clock(verilog: str, duty: float | None, wrap: bool) -> None:
    rng = np.random.default_rng((SEED, int(wrap)))
    nodes = [_node(verilog, skip) for skip in (True, False)]
    first = 20_000
    for node in nodes:
        node.run(first)
    if wrap:
        # Clock, pulse, frame, window and d-window all wrap within the next 200,000 clocks.
        pulses = 100_000 * 8192 * 2**32 // FRAME.period_q32
        near = Anchor(
            clock=(1 << CLOCK_BITS) - 120_000,
            pulse=(1 << PULSE_BITS) - pulses,
            remainder=5,
            frame_pulse=7,
            frame=(1 << FRAME_BITS) - 3000,
            window_frame=100,
            window=(1 << WINDOW_BITS) - 2,
            dwindow_window=FRAME.windows_per_dwindow - 1,
            dwindow=(1 << WINDOW_BITS) - 1,
        )
        for node in nodes:
            node.load(near)
        first = near.clock
    pattern = None if duty is None else rng.random(997) < duty
    for length in (1, 60_000, 99_999, 140_000):
        ticks, channels, rx = _stimulus(rng, first, length, length // 500, length // 5000)
        first += length
        skipped, full = (node.run(first, ticks, channels, rx, pattern, word_clocks=True) for node in nodes)
        for name in ("words", "ends", "clocks", "word_clocks"):
            np.testing.assert_array_equal(getattr(skipped, name), getattr(full, name), err_msg=name)
        assert nodes[0].clock == nodes[1].clock == first & ((1 << CLOCK_BITS) - 1)
    assert len(full) > 20
    assert nodes[1].cycles_simulated > 300_000
    if duty is None:
        assert nodes[0].cycles_simulated < 0.2 * nodes[1].cycles_simulated


def test_edges_come_out_with_their_times_and_chunks_change_nothing(verilog: str) -> None:
    rng = np.random.default_rng(SEED)
    clocks = 50 * np.unique(rng.integers(0, 6000, 400)).astype(np.uint64)  # apart, so that the stand-in can send each
    channels = rng.integers(0, 4, len(clocks)).astype(np.uint8)
    ticks = (clocks << np.uint64(13)) + rng.integers(0, 8192, len(clocks)).astype(np.uint64)
    whole, chunked = _node(verilog), _node(verilog)
    once = whole.run(300_100, ticks, channels)
    parts = []
    for stop in range(1000, 300_100 + 999, 1000):
        stop = min(stop, 300_100)
        inside = (ticks >> np.uint64(13) >= chunked.clock) & (ticks >> np.uint64(13) < stop)
        parts += chunked.run(stop, ticks[inside], channels[inside]).packets
    assert once.packets == parts
    words = [np.frombuffer(data, "<u4") for _, data in once.packets]
    edges = sorted((int(w[1]) | int(w[2]) << 32, int(w[0])) for w in words if w[0] < 4)
    assert edges == list(zip(ticks.tolist(), channels.tolist(), strict=True))
    ticks_seen = sum(1 for w in words if w[0] == 4)
    assert ticks_seen == 300_100 // 8192 + 1
    closes = sum(1 for w in words if w[0] == 5)
    assert closes == sum(FRAME.close_clock(w) <= 300_090 for w in range(1000))


def test_bad_edges_are_refused(verilog: str) -> None:
    node = _node(verilog)
    with pytest.raises(ValueError, match=r"edge 1 .* second of its channel"):
        node.run(100, [5 * 8192, 5 * 8192 + 9], [1, 1])
    with pytest.raises(ValueError, match=r"edge 1 .* cannot be presented; allowed: clocks 0 to 99"):
        node.run(100, [5 * 8192, 100 * 8192], [1, 1])
    with pytest.raises(ValueError, match=r"edge 1 .* rising order"):
        node.run(100, [5 * 8192, 4 * 8192], [1, 1])
    with pytest.raises(ValueError, match="two equally long vectors"):
        node.run(100, [5], [1, 1])
    with pytest.raises(ValueError, match="has 3 bytes"):
        node.run(100, rx=[(0, b"abc")])
    with pytest.raises(ValueError, match="only a client node emits"):
        node.run(100, codes=(0, 5))
    assert node.clock == 0


def test_output_outlives_its_node(verilog: str) -> None:
    node = _node(verilog)
    output = node.run(100_000, np.arange(100, dtype=np.int64) * 8192 * 50, np.zeros(100, np.uint8))
    before = output.words.copy()
    del node
    words = output.words
    del output
    np.testing.assert_array_equal(words, before)


def test_compiled_once_by_two_at_a_time(verilog: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compile_slowly(*arguments: object) -> None:
        calls.append(arguments)
        made = arguments[2]
        assert isinstance(made, Path)
        made.write_bytes(b"no library")

    monkeypatch.setattr(toolchain, "_compile", compile_slowly)
    faults = []

    def make() -> None:
        try:
            NativeNode.from_verilog("server", verilog, cache=tmp_path, progress=False)
        except ToolchainError as error:
            faults.append(str(error))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(faults) == 4
    assert "delete that file" in faults[0]


def test_missing_compiler_is_one_sentence(verilog: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain.compiler.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    try:
        with pytest.raises(ToolchainError, match=r"no-such-compiler is missing.*apt install g\+\+"):
            NativeNode.from_verilog("server", verilog, cache=tmp_path, progress=False)
    finally:
        toolchain.compiler.cache_clear()


def test_failing_compile_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="Verilator could not compile the gateware"):
        NativeNode.from_verilog(
            "server",
            "module twinphase_server(clk);\n  input clk;\n  nonsense\nendmodule",
            cache=tmp_path,
            progress=False,
        )
    assert not list(tmp_path.glob("*.so"))
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_cleared_memories_become_loops() -> None:
    lines = "".join(f"    \\table [{i}] = 8'h00;\n" for i in range(40)) + "    other[0] = 4'h3;\n    other[1] = 4'h0;\n"
    short = with_short_memories(f"  initial begin\n{lines}  end\n")
    assert short.count("\n") == 5
    assert "for (int i = 0; i < 40; i = i + 1) \\table [i] = 0;" in short
    assert "other[1] = 4'h0;" in short


def test_registers_choose_their_value_in_place() -> None:
    def module(value_used: str) -> str:
        return (
            "module m(clk, a, b, o);\n  reg [3:0] \\$1 ;\n  reg [3:0] \\$2 ;\n"
            "  always @(posedge clk)\n    \\q$3  <= \\$1 ;\n"
            "  always @(posedge clk)\n    r <= \\$2 ;\n"
            "  always @* begin\n    if (\\$auto$verilog_backend.cc:1:dump$1 ) begin end\n"
            "    { \\$1 [3], \\$1 [1:0] } = { \\q$3 [3], \\q$3 [1:0] };\n    \\$1 [2] = b;\n"
            "    if (a) begin\n      \\$1 [1:0] = \\$20 [1:0];\n    end\n  end\n"
            "  always @* begin\n    \\$2  = r;\n    casez (a)\n      1'h1:\n          \\$2  = \\q$3 ;\n    endcase\n  end\n"
            f"  assign o = {value_used};\nendmodule\n"
        )

    changed = with_registers_in_place(module("a"))
    assert (
        "  always @(posedge clk) begin\n    \\q$3 [2] <= b ;\n"
        "    if (a) begin\n      \\q$3 [1:0] <= \\$20 [1:0] ;\n    end\n  end\n" in changed
    )
    assert (
        "  always @(posedge clk) begin\n    casez (a)\n      1'h1:\n          r <= \\q$3 ;\n    endcase\n  end\n"
        in changed
    )
    assert changed.count("always") == 2
    # A value that is needed elsewhere stays.
    assert with_registers_in_place(module("\\$2 ")).count("always") == 3
