"""Two users with Z bits, paired with random numbers that can be set."""

import numpy as np

from twinphase.keys.aopp import AnsweringUser, PairingUser
from twinphase.keys.zbits import ZBits
from twinphase_spec import aopp

BLOCK = 64


def z_bits(bits, *, first=3, blocks=2, numbers=None):
    bits = np.asarray(bits, np.uint8)
    start = first * BLOCK
    numbers = np.arange(start, start + bits.size) if numbers is None else np.asarray(numbers)
    return ZBits(first_block=first, blocks=blocks, block_heralds=BLOCK, numbers=numbers.astype(np.uint32), bits=bits)


def seeded(seed):
    return np.random.default_rng(seed).bytes


def run(alice, bob, *, seed=1, group=aopp.GROUP, **where):
    drawer = PairingUser(z_bits(bob, **where), group=group, random_bytes=seeded(seed))
    pairs = drawer.announce()
    odd, alice_key = AnsweringUser(z_bits(alice, **where)).answer(pairs)
    return pairs, odd, alice_key, drawer.keep(odd)
