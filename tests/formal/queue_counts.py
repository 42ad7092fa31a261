"""Lemmas of the counts in a `Queue`, as every proof needs them that counts what is in one."""

from amaranth.hdl import Assert, Module, Signal, Value

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
