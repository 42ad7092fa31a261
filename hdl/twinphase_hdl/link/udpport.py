"""The port between packets and a UDP core: the user port of LiteEth's UDP core at 32 bits.

Source: LiteEth 2024.12, `core/udp.py` and the raw ports of `gen.py`; ``sink`` and ``source`` are named as there, from the core's
side. What the core asks beyond its port list:

* Byte 0 of a datagram is in bits 0-7 of its first word, so that little-endian words need no swap. An IP address is a number with
  its first octet in bits 24-31. ``length`` is bytes of payload, without the UDP header.
* Of a ``sink`` datagram all fields but ``data``, ``last`` and ``last_be`` hold from its first word's offer to its last word's
  transfer, as the core takes them late and twice; ``last_be`` is one-hot, the place of the last byte in the last word, and 0 in
  the words before.
* ``sink.valid`` must not fall within a datagram: the core has no packet buffer, and a gap longer than its FIFO to the PHY breaks
  a frame.
* ``source`` must not be kept waiting: its frames come from the line at their own pace, and what waits is lost. So this side is
  always ready. ``error`` of any word, in practice of the last one, is a wrong frame checksum.
* The length that ``source`` tells is the sender's word; ``last`` comes earlier when the frame was shorter.
* A raw port of `gen.py` takes what arrives for the port that ``sink_dst_port`` holds at that time, which is no use where answers
  go to other ports than they come from: the wrapper of the core claims the node's ports itself. ``dst_port`` tells here which it
  was.
* Every host needs a place in the core's ARP cache (``arp_entries``), or every packet waits for an answer to an ARP request. The
  cache forgets all after a second without a look-up; a host that does not answer holds up the core, and so all others, for 0.7 s a
  datagram.
"""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

NODE_PORT = 9750
"""Where a host subscribes, asks, and receives from: the default of ``udp://`` addresses."""
REGISTER_PORT = 9751
"""Register requests only, answered from there."""
LINK_PORT = 9752
"""Register requests to the link itself."""


class SentWord(data.Struct):
    """A word of a datagram to send."""

    data: 32
    last: 1
    last_be: 4
    length: 16
    ip_address: 32
    """Of the receiver; a group's is sent to the group's MAC address."""
    src_port: 16
    dst_port: 16


class ReceivedWord(data.Struct):
    """A word of a datagram that came."""

    data: 32
    last: 1
    last_be: 4
    error: 1
    length: 16
    ip_address: 32
    """Of the sender."""
    src_port: 16
    dst_port: 16


class UdpUserPort(wiring.Signature):
    """As seen by who sends and receives; the core has it flipped.

    Members: ``sink``: Out(stream of SentWord), to the core. ``source``: In(stream of ReceivedWord, always ready), from it.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "sink": Out(stream.Signature(SentWord)),
                "source": In(stream.Signature(ReceivedWord, always_ready=True)),
            }
        )
