"""Lemmas of what is in a `Queue`, as every proof needs them that counts or follows it."""

from amaranth.hdl import Assert, Module, Signal, Value, signed

from twinphase_hdl.core.queue import Queue


def assert_counts(m: Module, queue: Queue, *, depth: int, front_depth: int) -> tuple[Signal, Signal]:
    """``o_level`` is the number of entries that are held. Gives the numbers of those in the memory and in the front."""
    unread = Signal.like(queue.write_count)
    in_front = Signal.like(queue.front_write_count)
    held: Value = in_front + queue.staged + queue.loaded + unread + queue.entering + queue.o_valid
    m.d.comb += [
        unread.eq(queue.write_count - queue.read_count),
        in_front.eq(queue.front_write_count - queue.front_read_count),
        Assert(queue.claimed == in_front + queue.staged + queue.loaded + queue.advanced, "claimed"),
        Assert(queue.claimed <= front_depth, "front depth"),
        Assert(queue.unread == (unread != 0), "unread"),
        Assert(queue.read_next == (queue.read_count + 1)[: len(queue.read_count)], "next to be read"),
        Assert(
            queue.front_read_next == (queue.front_read_count + 1)[: len(queue.front_read_count)], "next of the front"
        ),
        Assert(queue.o_level == held, "level"),
        Assert(queue.o_level <= depth, "depth"),
        Assert(queue.front_valid == (in_front != 0), "front valid"),
    ]
    return unread, in_front


def assert_place(
    m: Module, queue: Queue, counts: tuple[Signal, Signal], *, marked: Signal, position: Signal, value: Signal
) -> None:
    """An entry with ``position`` others before it that is followed (``marked``) is inside, with this ``value``. ``counts``: of
    `assert_counts`."""
    unread, in_front = counts
    peek = queue.memory.read_port(domain="comb")
    peek_front = queue.front.read_port(domain="comb")
    place = Signal.like(position)  # entries before it, the head apart
    behind = Signal(signed(len(position) + 1))
    m.d.comb += [
        place.eq(position - queue.o_valid),
        behind.eq(place - in_front - queue.staged - queue.loaded),
        peek.addr.eq(queue.read_count + behind),
        peek_front.addr.eq(queue.front_read_count + place),
    ]
    with m.If(marked):
        m.d.comb += Assert(position < queue.o_level, "lost")
        with m.If(queue.o_valid & (position == 0)):
            m.d.comb += Assert(queue.o_head == value, "in the head")
        with m.Elif(place < in_front):
            m.d.comb += Assert(peek_front.data == value, "in the front")
        with m.Elif(queue.staged & (place == in_front)):
            m.d.comb += Assert(queue.stage == value, "behind the memory")
        with m.Elif(queue.loaded & (place == in_front + queue.staged)):
            m.d.comb += Assert(queue.read_port.data == value, "at the memory's output")
        with m.Elif(queue.entering & (place == in_front + queue.staged + queue.loaded + unread)):
            m.d.comb += Assert(queue.entry == value, "being written")
        with m.Else():
            m.d.comb += Assert(peek.data == value, "in the memory")
