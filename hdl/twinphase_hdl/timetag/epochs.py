"""When tags of the past are forgotten, so that a few bits of their times suffice."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data


class Epochs(data.Struct):
    """How many epochs after the tag before it a tag lies: none, one (``one``) or more (``more``). An epoch is 2^27 ticks."""

    one: 1
    more: 1


def joined(a: Value, b: Value) -> dict[str, Value]:
    """Fields of the sum of two `Epochs`."""
    more = a.more | b.more | (a.one & b.one)
    return {"one": (a.one | b.one) & ~more, "more": more}


class Skipped:
    """Hands the epochs of tags that leave the stream on to the next tag that stays. ``now``: of a tag, those before it included."""

    def __init__(self, m: Module, epochs: Value, stays: Value, leaves: Value, name: str):
        skipped, self.now = Signal(Epochs, name=f"{name}_skipped"), Signal(Epochs, name=f"{name}_epochs")
        fields = joined(skipped, epochs)
        m.d.comb += [getattr(self.now, field).eq(value) for field, value in fields.items()]
        with m.If(stays):
            m.d.sync += skipped.eq(0)
        with m.Elif(leaves):
            m.d.sync += skipped.eq(self.now)


class Recent:
    """Which channels had a tag lately: all whose tag is at most an epoch older than the latest, none whose tag is two epochs older.

    ``held``: so far. ``known``: for a tag that lies ``epochs`` after the one before, itself excluded. With ``enters`` the tag, of the
    channel that is 1 in ``decoded``, joins.
    """

    def __init__(self, m: Module, epochs: Value, enters: Value, decoded: Value, name: str):
        channels = len(decoded)
        this, before = Signal(channels, name=f"{name}_this_epoch"), Signal(channels, name=f"{name}_epoch_before")
        this_now, before_now = Signal(channels, name=f"{name}_this"), Signal(channels, name=f"{name}_before")
        same = ~epochs.one & ~epochs.more
        m.d.comb += [
            this_now.eq(this & same.replicate(channels)),
            before_now.eq(Mux(epochs.one, this, before) & (~epochs.more).replicate(channels)),
        ]
        self.known = Signal(channels, name=f"{name}_known")
        self.held = Signal(channels, name=f"{name}_held")
        m.d.comb += [self.known.eq(this_now | before_now), self.held.eq(this | before)]
        with m.If(enters):
            m.d.sync += [this.eq(this_now | decoded), before.eq(before_now)]
