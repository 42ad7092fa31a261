"""Heralds without a partner are counted in discarded blocks as in others."""

import numpy as np
from test_model_protocols import SPAN
from test_model_sifting import registers, stimulus

from twinphase_sim.model.client import block_sifter
from twinphase_spec.rules import MP
from twinphase_spec.sns import Kind


def test_unpaired_heralds_of_a_discarded_block_count() -> None:
    heralds, psi = stimulus(4, 64)
    sifter = block_sifter(registers("alice", 32, 8192, MP, SPAN))
    sifter.push_heralds(heralds)
    sifter.push_psi(psi)
    pulses = heralds["pulse_low"].astype(np.int64)
    alone, waiting = [0, 0], None
    for number, pulse in enumerate(pulses.tolist()):
        if number % 32 and waiting is not None and pulse - waiting <= SPAN:
            waiting = None
        else:
            alone[number // 32] += 1
            waiting = pulse
    assert sifter.counters["unpaired"] == alone[0]
    sifter.push_peer([(Kind.DIGEST_LOW, 0, 0), (Kind.DIGEST_HIGH, 0, 0)])
    assert sifter.counters["blocks_discarded"] == 1
    assert sifter.counters["unpaired"] == sum(alone)
