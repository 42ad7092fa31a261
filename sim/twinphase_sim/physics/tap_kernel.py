"""What tap flip-flops show, compiled. A transition j *arrives* at tap i by TDC clock K if ``E - a >= aperture / 2`` with
``E = K span + clock jitter - t_j`` and a the tap's arrival; not if ``E - a <= -aperture / 2``; in between a coin decides.

Coins and clock jitter are functions of (seed, clock, tap), so both ways of looking at the taps see the same ones.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


@numba.njit(cache=True)
def _hash(a: int, b: int, c: int) -> np.uint64:
    """64 mixed bits (splitmix64 over the three numbers)."""
    z = np.uint64(0)
    for word in (a, b, c):
        z = (z ^ np.uint64(word)) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX1
        z = (z ^ (z >> np.uint64(27))) * _MIX2
        z = z ^ (z >> np.uint64(31))
    return z


@numba.njit(cache=True)
def _uniform(a: int, b: int, c: int) -> float:
    return (float(_hash(a, b, c) >> np.uint64(11)) + 0.5) * 2.0**-53


@numba.njit(cache=True)
def clock_jitter(seed: int, clock: int, rms: float) -> float:
    """Gaussian shift of one TDC edge (Box-Muller)."""
    if rms == 0:
        return 0.0
    radius = math.sqrt(-2 * math.log(_uniform(seed, clock, -1)))
    return rms * radius * math.cos(2 * math.pi * _uniform(seed, clock, -2))


@numba.njit(cache=True)
def _arrives(e: float, a: float, aperture: float, seed: int, clock: int, coin: int) -> bool:
    x = e - a
    if x >= aperture / 2:
        return True
    if x <= -aperture / 2:
        return False
    return (_hash(seed, clock, coin) & np.uint64(1)) == 1


@numba.njit(cache=True)
def tap_vector(
    clock: int,
    newest: int,
    chain: int,
    clocks: NDArray[np.int64],
    fractions: NDArray[np.float64],
    blocks: NDArray[np.int64],
    first_number: int,
    arrivals: NDArray[np.float64],
    span: float,
    jitter: float,
    aperture: float,
    seed: int,
    taps: NDArray[np.uint8],
) -> None:
    """The taps of one chain at ``clock`` into ``taps``: each shows the polarity of the latest transition that has arrived.

    ``newest``: a transition that no later one can precede at any tap. Before the first, all taps are 0.
    """
    for i in range(taps.size):
        taps[i] = 0
        for j in range(newest, -1, -1):
            polarity = (first_number + j + 1) & 1
            e = (clock - clocks[j]) * span + jitter - fractions[j]
            if _arrives(e, arrivals[blocks[j], chain, polarity, i], aperture, seed, clock, chain * 1024 + i):
                taps[i] = polarity
                break
            if j == 0:
                taps[i] = first_number & 1


@numba.njit(cache=True)
def vectors(
    first_clock: int,
    clocks: NDArray[np.int64],
    fractions: NDArray[np.float64],
    blocks: NDArray[np.int64],
    arrivals: NDArray[np.float64],
    span: float,
    clock_rms: float,
    clock_seed: int,
    aperture: float,
    seed: int,
    taps: NDArray[np.uint8],
) -> None:
    """All taps of all chains in consecutive clocks, ``taps`` of shape (clocks, chains, taps); transitions from the first on."""
    newest = -1
    for k in range(taps.shape[0]):
        clock = first_clock + k
        # A transition of this clock and of the next: some taps may be reached before tap 0.
        while newest + 1 < clocks.size and clocks[newest + 1] <= clock + 1:
            newest += 1
        jitter = clock_jitter(clock_seed, clock, clock_rms)
        for chain in range(taps.shape[1]):
            tap_vector(
                clock,
                newest,
                chain,
                clocks,
                fractions,
                blocks,
                0,
                arrivals,
                span,
                jitter,
                aperture,
                seed,
                taps[k, chain],
            )


@numba.njit(cache=True)
def _code(taps: NDArray[np.uint8], polarity: int, group: int) -> int:
    """What the encoder makes of a vector: taps that agree, up to the first group without any; tap 0 is not counted."""
    code = 0
    since = 0
    for i in range(1, taps.size):
        if i % group == 0:
            if since == 0:
                return code
            since = 0
        if taps[i] == polarity:
            since += 1
            code += 1
    return code


@numba.njit(cache=True)
def _sampling_clock(
    clock: int, fraction: float, a: float, span: float, clock_rms: float, clock_seed: int, aperture: float, seed: int
) -> int:
    """First TDC clock at which tap 0 of chain 0 shows the transition."""
    k = clock + math.floor((fraction + a - aperture / 2 - 8 * clock_rms) / span)
    while not _arrives((k - clock) * span + clock_jitter(clock_seed, k, clock_rms) - fraction, a, aperture, seed, k, 0):
        k += 1
    return k


@numba.njit(cache=True)
def _code_at(
    k: int,
    j: int,
    chain: int,
    clocks: NDArray[np.int64],
    fractions: NDArray[np.float64],
    blocks: NDArray[np.int64],
    first_number: int,
    arrivals: NDArray[np.float64],
    ordered: NDArray[np.float64],
    simple: NDArray[np.bool_],
    span: float,
    jitter: float,
    aperture: float,
    seed: int,
    group: int,
    taps: NDArray[np.uint8],
) -> int:
    """Code of a chain at TDC clock ``k`` against the polarity of transition ``j``, the newest that tap 0 shows. ``taps``: for use."""
    polarity = (first_number + j + 1) & 1
    count = arrivals.shape[3] - 1
    line = ordered[blocks[j], chain, polarity]
    alone = simple[blocks[j], chain]
    if alone and j > 0:
        before = (k - clocks[j - 1]) * span + jitter - fractions[j - 1]
        alone = before > ordered[blocks[j - 1], chain, 1 - polarity, count - 1] + aperture
    if alone and j + 1 < clocks.size:
        after = (k - clocks[j + 1]) * span + jitter - fractions[j + 1]
        alone = after < ordered[blocks[j + 1], chain, 1 - polarity, 0] - aperture
    if not alone:
        newest = j
        while newest + 1 < clocks.size and clocks[newest + 1] <= k + 1:
            newest += 1
        tap_vector(
            k, newest, chain, clocks, fractions, blocks, first_number, arrivals, span, jitter, aperture, seed, taps
        )  # fmt: skip
        return _code(taps, polarity, group)
    e = (k - clocks[j]) * span + jitter - fractions[j]
    code = np.searchsorted(line, e - aperture / 2, side="right")
    if aperture > 0 and line[code] < e + aperture / 2:
        code = 0
        for i in range(1, count + 1):
            a = arrivals[blocks[j], chain, polarity, i]
            code += _arrives(e, a, aperture, seed, k, chain * 1024 + i)
    return code


@numba.njit(cache=True)
def _hits_at(clock: int, first: int, sampled: NDArray[np.int64]) -> int:
    """Transitions from number ``first`` on that tap 0 shows first at ``clock``."""
    stop = first
    while stop < sampled.size and sampled[stop] == clock:
        stop += 1
    return stop - first


@numba.njit(cache=True)
def codes(
    start: int,
    stop: int,
    clocks: NDArray[np.int64],
    fractions: NDArray[np.float64],
    blocks: NDArray[np.int64],
    first_number: int,
    arrivals: NDArray[np.float64],
    ordered: NDArray[np.float64],
    simple: NDArray[np.bool_],
    span: float,
    clock_rms: float,
    clock_seed: int,
    aperture: float,
    seed: int,
    group: int,
    out_clocks: NDArray[np.int64],
    out_polarities: NDArray[np.uint8],
    out_codes: NDArray[np.uint16],
    out_echoes: NDArray[np.uint16],
    out_number: NDArray[np.int64],
) -> int:
    """Hits of the transitions start .. stop-1 as the encoder finds them; returns how many.

    A chain that shows one transition alone is looked up in its ``ordered`` arrivals (taps 1 .. of each block, chain and
    polarity, with +inf at the end); any other is built tap by tap. ``simple``: no group of taps can be empty below one that is not.
    ``out_echoes``: codes of the TDC clock behind each hit, all taps but tap 0 if it brings another; with no rows they are not asked for.
    """
    taps = np.zeros(arrivals.shape[3], dtype=np.uint8)
    sampled = np.empty(clocks.size - start, dtype=np.int64)
    for j in range(start, clocks.size):
        polarity = (first_number + j + 1) & 1
        sampled[j - start] = _sampling_clock(
            clocks[j], fractions[j], arrivals[blocks[j], 0, polarity, 0], span, clock_rms, clock_seed, aperture, seed
        )
    found = 0
    same = 0
    for j in range(start, stop):
        k = sampled[j - start]
        same += 1
        if j + 1 < clocks.size and sampled[j + 1 - start] == k:
            continue
        odd = same & 1
        same = 0
        if not odd:
            continue
        if out_echoes.shape[0]:
            out_echoes[found] = arrivals.shape[3] - 1
        followed = out_echoes.shape[0] == 0 or (_hits_at(k + 1, j + 1 - start, sampled) & 1)
        for clock in range(k, k + 1 + (not followed)):
            jitter = clock_jitter(clock_seed, clock, clock_rms)
            for chain in range(arrivals.shape[1]):
                code = _code_at(
                    clock, j, chain, clocks, fractions, blocks, first_number, arrivals, ordered, simple, span, jitter,
                    aperture, seed, group, taps,
                )  # fmt: skip
                if clock == k:
                    out_codes[found, chain] = code
                else:
                    out_echoes[found, chain] = code
        out_clocks[found] = k
        out_polarities[found] = (first_number + j + 1) & 1
        out_number[found] = first_number + j
        found += 1
    return found
