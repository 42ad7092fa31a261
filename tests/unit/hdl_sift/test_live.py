"""What live windows and their records refuse to be built with; all else of them is in the bench `bench_live` and in proofs."""

import pytest

from twinphase_hdl.sift.live import LiveWindows
from twinphase_hdl.sift.runrecords import RunRecords


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LiveWindows(recovery_bits=0), "recovery_bits is 0; allowed: 1 to length_bits - 2"),
        (lambda: LiveWindows(recovery_bits=31), "recovery_bits is 31"),
        (lambda: LiveWindows(pulse_bits=33), r"pulse_bits is 33; allowed: 2 \(recovery_bits \+ 1\) to 56"),
        (lambda: LiveWindows(pulse_bits=57), "pulse_bits is 57"),
        (lambda: RunRecords(length_bits=28), "length_bits is 28; allowed: more than 28, at most 32"),
        (lambda: RunRecords(length_bits=33), "length_bits is 33"),
        (lambda: RunRecords(records=12), "records is 12; allowed: a power of two from 2"),
    ],
)
def test_refused_with_what_is_allowed(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
