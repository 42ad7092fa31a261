"""Classical bits per survivor of odd-parity pairing at a herald probability of 1e-4 per pulse: the tables of docs/protocols/aopp.md.

Heralds are drawn: Bernoulli pulses, symbols of both users in proportion to the light that they send together (one photon survives at
most; `seed-370km`'s intensities and shares of X). Coded and paired are they by the code that users run. About a minute.

    python benchmarks/aopp.py [heralds]
"""

from __future__ import annotations

import math
import sys

import numpy as np

from twinphase.keys.aopp import AnsweringUser, PairingUser
from twinphase.keys.zbits import ZBits
from twinphase.sift.costs import HeraldCost, binary_entropy
from twinphase_spec.aopp import GROUP
from twinphase_spec.lab import load_lab

PROBABILITY = 1e-4
BLOCK = 1024
SPAN = 16
NAIVE_HERALD_BITS, NAIVE_POSITION_BITS = 64, 32


def symbols(z_probability: float, send_probability: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(x, sent, intensity, probability) of a user's symbols."""
    user = load_lab("seed-370km").clients.alice
    x = 1 - z_probability
    two = 1 - user.vacuum_probability - user.mu1_probability
    rows = [
        (0, 0, 0.0, z_probability * (1 - send_probability)),
        (0, 1, user.mu_z, z_probability * send_probability),
        (1, 0, 0.0, x * user.vacuum_probability),
        (1, 0, user.mu_1, x * user.mu1_probability),
        (1, 0, user.mu_2, x * two),
    ]
    return tuple(np.array(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


def pairing_entropy(zeros: int, ones: int) -> float:
    """log2 of the number of ways to choose min(zeros, ones) disjoint unordered pairs out of all positions."""
    n, pairs = zeros + ones, min(zeros, ones)
    return (math.lgamma(n + 1) - math.lgamma(n - 2 * pairs + 1) - math.lgamma(pairs + 1)) / math.log(2) - pairs


def measure(heralds: int, z_probability: float, send_probability: float, group: int, seed: int = 1) -> dict[str, float]:
    """Bits per survivor of a run."""
    rng = np.random.default_rng(seed)
    x, sent, light, share = symbols(z_probability, send_probability)
    joint = share[:, None] * share * (light[:, None] + light)
    drawn = rng.choice(joint.size, heralds, p=(joint / joint.sum()).ravel())
    a, b = np.divmod(drawn, share.size)
    cost = HeraldCost()
    cost.add(np.cumsum(rng.geometric(PROBABILITY, heralds)))
    z = np.flatnonzero((x[a] == 0) & (x[b] == 0))
    bits_a, bits_b = sent[a].astype(np.uint8), (1 - sent[b]).astype(np.uint8)
    survivors = pairs = pairs_bits = odd_bits = used = 0
    entropy, most = 0.0, 0
    for first in range(0, heralds // BLOCK - SPAN + 1, SPAN):
        numbers = z[(z >= first * BLOCK) & (z < (first + SPAN) * BLOCK)]
        where = {"first_block": first, "blocks": SPAN, "block_heralds": BLOCK, "numbers": numbers.astype(np.uint32)}
        bob = PairingUser(ZBits(bits=bits_b[numbers], **where), group=group, random_bytes=rng.bytes)
        said = bob.announce()
        odd, alice_key = AnsweringUser(ZBits(bits=bits_a[numbers], **where)).answer(said)
        bob_key = bob.keep(odd)
        survivors += bob_key.bits.size
        assert (alice_key.kept == bob_key.kept).all()
        pairs += bob.pairs
        pairs_bits += 8 * len(said)
        odd_bits += 8 * len(odd)
        used += SPAN * BLOCK
        ones = int(bits_b[numbers].sum())
        entropy += pairing_entropy(numbers.size - ones, ones)
        most += min(numbers.size - ones, ones)
    types = binary_entropy(float(x[a].mean())) + binary_entropy(float(x[b].mean()))
    per = used / survivors
    result = {
        "heralds each": per,
        "pairs each": pairs / survivors,
        "pairs formed": pairs / most,
        "bits per pair": pairs_bits / pairs,
        "of one random pairing": entropy / most,
        "heralds": per * (cost.per_herald or math.nan),
        "types": per * types,
        "pairs": pairs_bits / survivors,
        "parities": odd_bits / survivors,
        "naive": per * (NAIVE_HERALD_BITS + 2) + pairs / survivors * (2 * NAIVE_POSITION_BITS + 1),
    }
    return result | {"all": sum(result[name] for name in ("heralds", "types", "pairs", "parities"))}


def show(title: str, rows: list[tuple[str, dict[str, float]]]) -> None:
    """One Markdown table."""
    names = list(rows[0][1])
    print(f"\n| {title} | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for label, values in rows:
        cells = [f"{values[name]:.1%}" if name == "pairs formed" else f"{values[name]:.1f}" for name in names]
        print(f"| {label} | " + " | ".join(cells) + " |")


def main() -> None:
    """Both tables."""
    heralds = int(sys.argv[1]) if len(sys.argv) > 1 else 40 * SPAN * BLOCK
    settings = (
        (0.5, 0.27),
        (0.735, 0.27),
        (0.85, 0.27),
        (0.9, 0.27),
        (0.95, 0.27),
        (0.735, 0.1),
        (0.9, 0.2),
        (0.95, 0.1),
    )
    show("p_z, eps", [(f"{p_z}, {eps}", measure(heralds, p_z, eps, GROUP)) for p_z, eps in settings])
    groups = (2, 4, 8, 16, 24, 32, 64, 256, 4096)
    show("group (p_z .95, eps .27)", [(f"{group}", measure(heralds, 0.95, 0.27, group)) for group in groups])


if __name__ == "__main__":
    main()
