"""DHCP messages of a client as words: what is where, for those who send and those who read (RFC 2131, options RFC 2132).

A message is sent with a fixed layout of `MESSAGE_WORDS` words, 300 bytes, the least that BOOTP relays take; byte 0 is in bits 0-7 of
word 0. Options that a message does not have are zeros, which is the option "pad".
"""

from enum import IntEnum

SERVER_PORT, CLIENT_PORT = 67, 68
BROADCAST = 0xFFFFFFFF
MESSAGE_WORDS = 75
COOKIE = bytes((99, 130, 83, 99))
XID_WORD, SECS_WORD, CIADDR_WORD, YIADDR_WORD, CHADDR_WORD, COOKIE_WORD, OPTION_WORD = 1, 2, 3, 4, 7, 59, 60
TYPE_WORD, REQUESTED_WORD, SERVER_WORD, END_WORD = 60, 71, 73, 74
OF_REQUEST = (70, 71, 72, 73)
"""Words that only a request has which answers an offer: requested address and server."""
NAME = "twinphase-"
FOREVER = 0xFFFFFFFF
"""A lease without an end."""


class Message(IntEnum):
    """Option 53."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    ACK = 5
    NAK = 6


class Option(IntEnum):
    """Codes, those of them that are read or sent."""

    PAD = 0
    HOST_NAME = 12
    REQUESTED = 50
    LEASE = 51
    TYPE = 53
    SERVER = 54
    LIST = 55
    T1 = 58
    T2 = 59
    CLIENT = 61
    END = 255


def host_name(mac: int) -> str:
    """What a node calls itself: `NAME` and the last three bytes of its MAC address, "twinphase-000001"."""
    return f"{NAME}{mac & 0xFFFFFF:06x}"


def constant_words(mac: int) -> list[int]:
    """A message of the client ``mac`` without what changes: xid, seconds, ciaddr, the message's type, and `OF_REQUEST`'s addresses."""
    address = mac.to_bytes(6, "big")
    name = host_name(mac).encode()
    text = bytes((1, 1, 6, 0)) + bytes(4 * (CHADDR_WORD - 1)) + address + bytes(202) + COOKIE
    text += bytes((Option.TYPE, 1, 0, 0))
    text += bytes((Option.CLIENT, 7, 1)) + address
    text += bytes((Option.LIST, 4, 1, Option.LEASE, Option.T1, Option.T2, 0))
    text += bytes((Option.HOST_NAME, len(name))) + name + bytes(2)
    text += bytes((0, 0, Option.REQUESTED, 4)) + bytes(4) + bytes((0, 0, Option.SERVER, 4)) + bytes(4)
    text += bytes((Option.END, 0, 0, 0))
    return [int.from_bytes(text[start : start + 4], "little") for start in range(0, len(text), 4)]
