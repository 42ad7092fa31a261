"""The anchor's lag against everything that can hold up a click of the server node."""

from twinphase_hdl.core.framer import Framer
from twinphase_hdl.phase.marks import PhaseMarks
from twinphase_hdl.sift.herald import HeraldFinder
from twinphase_hdl.timetag.channel import DELAY_BITS, QUEUE_DEPTH
from twinphase_hdl.timetag.delayline import DelayLineFrontEnd
from twinphase_hdl.timetag.frontend import DdrFrontEnd, SimulationFrontEnd
from twinphase_spec.frame import LAG_CLOCKS, MAX_PERIOD_TICKS
from twinphase_spec.packets import RECORD_WORDS, Stream
from twinphase_spec.registers import CHANNELS
from twinphase_spec.smoothing import CLOCK_LOW_BITS
from twinphase_spec.units import TICKS_PER_CLOCK

FRONT = max(
    DdrFrontEnd.latency,
    SimulationFrontEnd.latency,
    DelayLineFrontEnd(channels=len(CHANNELS), lanes=1, chains=2, taps=512).latency,
)
DELAY_SPAN = (1 << DELAY_BITS) // TICKS_PER_CLOCK
"""Until the horizon has passed the tag."""
QUEUE = QUEUE_DEPTH + 1 + 3
"""Tags of a channel: its queue, its head, and refills of a queue that ran empty, see TagQueue."""
TAGGER = 4
"""test_latency_is_four_clocks_with_equal_delays."""


def test_all_clicks_of_a_window_have_come_when_it_closes() -> None:
    queues = len(CHANNELS) * QUEUE  # one tag per clock leaves the merge
    counts = 2  # see ReferenceCounts
    assert FRONT + DELAY_SPAN + queues + TAGGER + Framer().latency + counts < LAG_CLOCKS


def test_all_heralds_of_a_window_have_come_to_the_packer_when_it_closes() -> None:
    longest_period = MAX_PERIOD_TICKS // TICKS_PER_CLOCK
    finder = HeraldFinder()
    hold = 8 * longest_period + 32 + finder.latency + 4
    record = RECORD_WORDS[Stream.HERALD]
    worst = 0
    for of_r in range(2 * QUEUE + 1):
        # Both channels of the q band drain, each of their clicks a herald, among the r band's; meanwhile records leave.
        drained = 2 * QUEUE + of_r
        waiting = max(0, min(512, 2 * QUEUE - drained // record))
        worst = max(worst, drained + record * waiting)
    assert FRONT + DELAY_SPAN + worst + TAGGER + Framer().latency + PhaseMarks().latency + hold < LAG_CLOCKS


def test_low_bits_of_a_clicks_clock_tell_its_time() -> None:
    latest = FRONT + DELAY_SPAN + len(CHANNELS) * QUEUE + TAGGER + Framer().latency + PhaseMarks().latency
    # In the feed's queue it waits for HOLD, a queue, and turns.
    assert latest < 1 << CLOCK_LOW_BITS - 1
    assert 1 << CLOCK_LOW_BITS - 1 > 512 + 256 + 64
