"""Which half of a system clock a clock at twice its frequency is in."""

from amaranth.hdl import Module, Signal


def middle_is_next(m: Module) -> Signal:
    """1 (domain ``tdc``): the coming edge of ``tdc`` is the one in the middle of a clock of ``sync``.

    Both clocks come from one PLL with their edges aligned, ``tdc`` at twice the frequency. A flip-flop that toggles with ``sync``, seen
    from ``tdc``, tells the halves apart. Right from the third system clock after a reset on. Not inside of an ``m.If``.
    """
    toggle, toggle_before = Signal(), Signal()
    first_half = Signal()
    m.d.sync += toggle.eq(~toggle)
    m.d.tdc += [toggle_before.eq(toggle), first_half.eq(toggle == toggle_before)]
    return first_half
