"""The anchor's lag against everything that can hold up a click of the server node."""

from twinphase_hdl.core.framer import Framer
from twinphase_hdl.timetag.channel import DELAY_BITS, QUEUE_DEPTH
from twinphase_hdl.timetag.frontend import DdrFrontEnd, SimulationFrontEnd
from twinphase_spec.frame import LAG_CLOCKS
from twinphase_spec.registers import CHANNELS
from twinphase_spec.units import TICKS_PER_CLOCK


def test_all_clicks_of_a_window_have_come_when_it_closes() -> None:
    delay_span = (1 << DELAY_BITS) // TICKS_PER_CLOCK  # until the horizon has passed the tag
    heads = 1
    refills = 3  # a queue that ran empty, see TagQueue
    queues = len(CHANNELS) * (QUEUE_DEPTH + heads + refills)  # one tag per clock leaves the merge
    tagger = 4  # test_latency_is_four_clocks_with_equal_delays
    counts = 2  # see ReferenceCounts
    held_up = (
        max(DdrFrontEnd.latency, SimulationFrontEnd.latency) + delay_span + queues + tagger + Framer().latency + counts
    )
    assert held_up < LAG_CLOCKS
