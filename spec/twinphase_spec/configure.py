"""From a lab to the register values of its nodes: the only place where physical settings become hardware numbers.

A band's gate is centred on the middle of the pulse. Server delays cancel each detector's ``offset_ps``. A client's start
is early by the lag of the timebase, so that its anchor is the emission itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from . import herald_code
from .arrival import interval_windows
from .digest import DigestConfig
from .frame import LAG_CLOCKS, SLOT_RECIPROCAL_SHIFT, FrameConfig, slot_byte
from .herald_wait import FREE, exchange_s, held_heralds
from .lab import Client, Lab, LabError
from .lab_actuator import actuator_memories, actuator_registers
from .lab_live import recovery_pulses
from .packets import FLUSH_BITS, Stream
from .port_balance import EQUAL_PORTS, step_angles, step_registers
from .registers import CHANNELS, CLIENT_TABLE_ENTRIES
from .rules import PROTOCOLS, rule_tables
from .sns import RING_HERALDS
from .symbols import BOUNDS, DRAW_BITS, SymbolConfig
from .track_setup import track_setup
from .units import CLOCK_HZ, TICKS_PER_SECOND, TURN, ps_to_ticks

SERVER_STREAMS = (
    Stream.TAG,
    Stream.PHASE,
    Stream.DPHASE,
    Stream.HERALD,
    Stream.PSI,
    Stream.STATUS,
    Stream.TRACK,
    Stream.PSI_CAUSAL,
    Stream.HERALD_CODE,
    Stream.ARRIVAL,
)
"""LIVE comes with them where the lab asks for live windows."""
CLIENT_STREAMS = (Stream.SIFTED, Stream.PEER, Stream.STATUS)
MAX_DELAY_TICKS = (1 << 21) - 1
PROBABILITY_ROUNDING = 1e-12
"""Sums of decimal probabilities that mean 1 miss it by less."""


def frame_config(lab: Lab, start_clock: int = 0) -> FrameConfig:
    """The lab's frame on the server's clock. Raises LabError where the gateware cannot hold it."""
    try:
        return FrameConfig(
            period_q32=(TICKS_PER_SECOND << 32) // round(lab.frame.pulse_rate_hz),
            slot_pulses=lab.frame.slot_pulses,
            table=tuple(slot_byte(q, r) for q, r in lab.frame.table()),
            frames_per_window=lab.frame.frames_per_window,
            windows_per_dwindow=lab.frame.windows_per_dwindow,
            start_clock=start_clock,
        )
    except ValueError as error:
        raise LabError(f"lab {lab.name}: {error}") from error


def ratio_register(lab: Lab) -> int:
    """nu_q / nu_r - 1 in 2^-32."""
    return round((lab.bands.quantum_hz / lab.bands.reference_hz - 1) * 2**32)


def gate_ticks(lab: Lab, band: Literal["q", "r"]) -> tuple[int, int]:
    """First position of the gate and first position after it, in ticks into the pulse."""
    period = TICKS_PER_SECOND // round(lab.frame.pulse_rate_hz)
    width = min(period, ps_to_ticks(lab.frame.gate_q_ps if band == "q" else lab.frame.gate_r_ps))
    start = (period - width) // 2
    return start, start + width


def delay_ticks(lab: Lab) -> tuple[int, int, int, int]:
    """Delay of each channel: minus its detector's offset."""
    return tuple(-ps_to_ticks(getattr(lab.detectors, name).offset_ps) for name in CHANNELS)  # type: ignore[return-value]


def frame_registers(frame: FrameConfig) -> dict[str, int]:
    """A node's registers of ``frame``, by name; its table is the memory FRAME_TABLE."""
    return {
        "START_CLOCK": frame.start_clock,
        "PERIOD": frame.period_q32,
        "STEP_PULSES": frame.step_pulses,
        "STEP_REMAINDER": frame.step_remainder,
        "PULSE_RECIPROCAL": frame.pulse_reciprocal,
        "FRAME_PULSES": frame.frame_pulses,
        "FRAME_RECIPROCAL": frame.frame_reciprocal,
        "SLOT_PULSES": frame.slot_pulses,
        "SLOT_RECIPROCAL": frame.slot_reciprocal,
        "FRAMES_PER_WINDOW": frame.frames_per_window,
        "WINDOWS_PER_DWINDOW": frame.windows_per_dwindow,
    }


def server_registers(lab: Lab, start_clock: int) -> dict[str, int]:
    """All RW registers of the server node, except CONTROL, which starts it and is written last.

    Raises LabError for a frame that the gateware cannot hold, and for tracking or live windows that the lab asks for and cannot have.
    """
    (start_q, stop_q), (start_r, stop_r) = gate_ticks(lab, "q"), gate_ticks(lab, "r")
    recovery = recovery_pulses(lab, start_q)
    streams = (*SERVER_STREAMS, Stream.LIVE) if recovery else SERVER_STREAMS
    return {
        **frame_registers(frame_config(lab, start_clock)),
        "GATE_START_Q": start_q,
        "GATE_STOP_Q": stop_q,
        "GATE_START_R": start_r,
        "GATE_STOP_R": stop_r,
        "SWAP": int(lab.server.swap_q) | int(lab.server.swap_r) << 1,
        "RATIO": ratio_register(lab) & 0xFFFFFFFF,
        "CHANNEL_ENABLE": 15,
        "STREAM_ENABLE": sum(1 << stream for stream in streams),
        **{f"DELAY_{name}": delay & 0xFFFFFFFF for name, delay in zip(CHANNELS, delay_ticks(lab), strict=True)},
        **{f"DEAD_TIME_{name}": ps_to_ticks(lab.server.dead_time_ns * 1000) for name in CHANNELS},
        "HERALD_DIVISOR": herald_code.FIRST.byte,
        "RECOVERY_PULSES": recovery,
        **track_setup(lab).registers(),
        **step_registers(step_angles(lab) if lab.tracking.ports == "told" else EQUAL_PORTS),
        **actuator_registers(lab),
        "ARRIVAL_WINDOWS": interval_windows(frame_config(lab).window_ticks, TICKS_PER_SECOND),
    }


def server_memories(lab: Lab) -> dict[str, list[int]]:
    """Memories of the server node. Raises LabError."""
    return {"FRAME_TABLE": list(frame_config(lab).table), **track_setup(lab).memories(), **actuator_memories(lab)}


def symbol_config(client: Client, key: tuple[int, int, int, int], nonce: int = 0) -> SymbolConfig:
    """Bounds of a client's generator: cumulative probabilities, each rounded to 1/4096.

    So a symbol's probability is off by 1/4096 at most (1/8192 for those at either end), and those that a symbol really has are
    `SymbolConfig.probabilities`. Raises LabError for a symbol that is possible and would never be sent.
    """
    z, sent, vacuum, mu_1 = (
        client.z_probability,
        client.send_probability,
        client.vacuum_probability,
        client.mu1_probability,
    )
    cumulative = (z * sent, z, z + (1 - z) * vacuum, z + (1 - z) * (vacuum + mu_1))
    bounds = [min(1 << DRAW_BITS, round(p * (1 << DRAW_BITS))) for p in cumulative]
    config = SymbolConfig(key=key, nonce=nonce, **dict(zip(BOUNDS, bounds, strict=True)))
    wanted = (
        ("z_probability * send_probability", z * sent),
        ("z_probability * (1 - send_probability)", z * (1 - sent)),
        ("(1 - z_probability) * vacuum_probability", (1 - z) * vacuum),
        ("(1 - z_probability) * mu1_probability", (1 - z) * mu_1),
        ("(1 - z_probability) * (1 - vacuum_probability - mu1_probability)", (1 - z) * (1 - vacuum - mu_1)),
    )
    for (product, probability), real in zip(wanted, config.probabilities().values(), strict=True):
        # Of the last class, what is left of 1 by sums of decimals is no wish for a symbol.
        if probability > PROBABILITY_ROUNDING and real == 0:
            raise LabError(
                f"{product} is {probability:.3g}, which the symbols' steps of 1/{1 << DRAW_BITS} round to 0; "
                f"allowed: 0, or about {1 / (1 << DRAW_BITS):.2g} and more"
            )
    return config


def client_symbols(
    lab: Lab, role: Literal["alice", "bob"], key: tuple[int, int, int, int], nonce: int = 0
) -> SymbolConfig:
    """`symbol_config` of one of the lab's clients. Raises LabError naming lab and client."""
    slices_z, slices_x = PROTOCOLS[lab.protocol.name].source_masks[role]
    try:
        config = symbol_config(getattr(lab.clients, role), key, nonce)
        return replace(config, slices_z=slices_z, slices_x=slices_x)
    except LabError as error:
        raise LabError(f"lab {lab.name}: clients.{role}: {error}") from error


def slice_width_turns(lab: Lab) -> int:
    """Ds in 2^-16 turn."""
    return round(lab.protocol.slice_width_deg / 360 * TURN)


def client_registers(
    lab: Lab,
    role: Literal["alice", "bob"],
    key: tuple[int, int, int, int],
    first_emission_clock: int,
    nonce: int = 0,
    *,
    digest: DigestConfig,
) -> dict[str, int]:
    """All RW registers of a client node except CONTROL. Pulse 0 is emitted at the client's ``first_emission_clock``.

    ``key`` and ``nonce`` are the client's own, ``digest`` is shared by the two of a pair.

    Raises LabError for symbols that cannot be drawn as the lab says, and for live windows that the lab asks for and cannot have.
    """
    frame = frame_config(lab, first_emission_clock - LAG_CLOCKS)
    symbols = client_symbols(lab, role, key, nonce)
    entry_pulses = max(frame.slot_pulses, lab.lanes)
    return {
        **frame_registers(frame),
        "SLOT_PULSES": entry_pulses,
        "SLOT_RECIPROCAL": (1 << SLOT_RECIPROCAL_SHIFT) // entry_pulses,
        "ROLE": int(role == "bob"),
        **{f"KEY_{i}": word for i, word in enumerate(symbols.key)},
        "NONCE_0": symbols.nonce >> 32,
        "NONCE_1": symbols.nonce & 0xFFFFFFFF,
        **digest.registers(),
        **{name.upper(): bound for name, bound in zip(BOUNDS, symbols.bounds, strict=True)},
        "SLICES_Z": symbols.slices_z,
        "SLICES_X": symbols.slices_x,
        "BLOCK_HERALDS": lab.protocol.block_heralds,
        "SLICE_WIDTH": slice_width_turns(lab),
        **rule_tables(PROTOCOLS[lab.protocol.name], role).registers(lab.protocol.pair_span_pulses),
        "DIGEST_LIVE": int(recovery_pulses(lab, gate_ticks(lab, "q")[0]) > 0),
        "STREAM_ENABLE": sum(1 << stream for stream in CLIENT_STREAMS),
    }


def client_table(lab: Lab) -> list[int]:
    """Words of a client's FRAME_TABLE: 8 slot bytes (one per lane, the rest 0) for each entry. Raises LabError."""
    frame = frame_config(lab)
    lanes = lab.lanes
    if frame.slot_pulses >= lanes:
        entries = [[entry] * lanes for entry in frame.table]
    else:
        entries = [list(frame.table[i : i + lanes]) for i in range(0, len(frame.table), lanes)]
    if len(entries) > CLIENT_TABLE_ENTRIES:
        raise LabError(
            f"lab {lab.name}: the clients' table has {len(entries)} entries; allowed: at most {CLIENT_TABLE_ENTRIES}: raise slot_pulses"
        )
    words = []
    for entry in entries:
        packed = int.from_bytes(bytes(entry).ljust(8, b"\0"), "little")
        words += [packed & 0xFFFFFFFF, packed >> 32]
    return words


def check_delay(lab: Lab, heralds_per_second: float) -> None:
    """Refuse a lab whose clients cannot hold their heralds: LabError.

    A herald stays in a client's ring for at most two blocks, until its psi is there (the d-window closed or the phase smoothed) and, with
    live windows, the LIVE record behind it, and through the exchanges of `exchange_s`; 25 % is kept free for fluctuations.
    """
    frame, setup = frame_config(lab), track_setup(lab)
    dwindow_s = frame.window_ticks * frame.windows_per_dwindow / TICKS_PER_SECOND
    psi_s = setup.lag_s if setup.source == "clicks" else dwindow_s
    if lab.server.live_windows:
        psi_s = max(psi_s, (1 << FLUSH_BITS[Stream.LIVE]) / CLOCK_HZ)
    held = held_heralds(lab, heralds_per_second, psi_s)
    if held > FREE * RING_HERALDS:
        wait_s = psi_s + exchange_s(lab)
        raise LabError(
            f"lab {lab.name}: about {held:.0f} heralds wait at a client ({heralds_per_second:.0f}/s for {wait_s * 1e3:.1f} ms and "
            f"two blocks); allowed: {FREE * RING_HERALDS:.0f}: lower the rate, windows_per_dwindow or block_heralds"
        )
