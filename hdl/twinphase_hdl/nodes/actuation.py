"""The server's phase actuator: from the click tracker to the DAC's code, and back to the clicks on which it has acted."""

from dataclasses import dataclass

from amaranth.hdl import Module, Value

from twinphase_hdl.core.rooms import Rooms
from twinphase_hdl.core.timebase import Timebase
from twinphase_hdl.drive.actuator import Actuator
from twinphase_hdl.drive.clicks import AppliedClicks
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.phase.bands import BandTracker

ROOM = "drive"


@dataclass(frozen=True, kw_only=True)
class Actuation:
    """The parts, whose outputs the node shows and counts."""

    actuator: Actuator
    clicks: AppliedClicks
    on: Value
    """Off: what ``clicks`` say does not count."""
    idle: Value


def actuation(
    m: Module, rooms: Rooms, bank: RegisterBank, timebase: Timebase, tracker: BandTracker, *, bits: int
) -> Actuation:
    """Makes actuator and look-up submodules of m, in one room, and connects them with tracker, timebase and registers.

    Its target is psi_r after every click and turn of the reference band, while ACT_CONTROL says that it is on; it seeks only then. Off
    it holds, and clicks are taken as if it were not there. Slots are shorter than what a fly-back takes: it may begin in any step. What
    tells that the DAC's driver takes a code is left to the node.
    """
    actuator, clicks = Actuator(bits=bits), AppliedClicks()
    idle = actuator.o_idle & clicks.o_idle
    rooms.put(m, ROOM, idle, actuator=actuator, applied_clicks=clicks)
    on, coast, dither, bank_of_table, seek = (bank.o_act_control[k] for k in range(5))
    settings = actuator.i_settings
    m.d.comb += [
        *(actuator.i.phase.eq(tracker.o.phase), actuator.i.locked.eq(tracker.o.locked)),
        *(
            actuator.i_valid.eq(tracker.o_valid & (tracker.o.channel == 0) & on),
            actuator.i_clock.eq(timebase.o_anchor.clock),
        ),
        actuator.i_slot.eq(1),
        *(settings.seek.eq(seek & on), settings.speed.eq(bank.o_act_seek)),
        *(settings.coast.eq(coast), settings.dither.eq(dither), settings.bank.eq(bank_of_table)),
        *(settings.ratio.eq(bank.o_act_ratio), settings.lock.eq(bank.o_act_lock), settings.slew.eq(bank.o_act_slew)),
        *(settings.window[name].eq(getattr(bank, f"o_act_{name}")) for name in ("low", "high", "top")),
        settings.settle.eq(bank.o_act_settle),
        *(actuator.i_write.eq(bank.o_act_table_write), actuator.i_address.eq(bank.o_act_table_address)),
        actuator.i_data.eq(bank.o_act_table_data),
        *(clicks.i_clock.eq(timebase.o_anchor.clock), clicks.i_delay.eq(bank.o_act_delay)),
        *(clicks.i_position.eq(actuator.o_acting), clicks.i_blank.eq(actuator.o_blank)),
    ]
    return Actuation(actuator=actuator, clicks=clicks, on=on, idle=idle)
