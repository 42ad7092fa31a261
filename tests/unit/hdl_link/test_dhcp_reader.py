"""DHCP messages: what a client sends, as bytes; what its reader makes of drawn datagrams, against a reader of bytes in Python."""

from __future__ import annotations

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_hdl.link.dhcpclient import DhcpClient
from twinphase_hdl.link.dhcpreader import DhcpReader
from twinphase_hdl.link.dhcpwords import MESSAGE_WORDS, constant_words, host_name

MAC = bytes.fromhex("025450abcdef")
XID = b"\x11\x22\x33\x44"
COOKIE = b"\x63\x82\x53\x63"
FIELDS = {53: ("kind", 1), 54: ("server", 4), 51: ("lease", 4), 58: ("t1", 4), 59: ("t2", 4)}


def head(address: bytes, *, op: int = 2, xid: bytes = XID, mac: bytes = MAC, cookie: bytes = COOKIE) -> bytes:
    """A message up to its options, by RFC 2131's figure 1."""
    fixed = bytes((op, 1, 6, 3)) + xid + bytes(8) + address + b"\x0a\0\0\1" + bytes(4) + mac + bytes(10)
    return fixed + b"server".ljust(64, b"\0") + b"file".ljust(128, b"\0") + cookie


def understood(data: bytes, port: int, damaged: bool, told: int) -> dict[str, int] | None:
    """The fields of an answer, None for what is none."""
    if damaged or port != 67 or (told + 3) // 4 != (len(data) + 3) // 4 or told <= 240:
        return None
    if data[:3] != bytes((2, 1, 6)) or data[4:8] != XID or data[28:34] != MAC or data[236:240] != COOKIE:
        return None
    found = {"address": int.from_bytes(data[16:20], "big"), **{name: 0 for name, _ in FIELDS.values()}}
    rest = data.ljust(told, b"\0")[240:told]
    while rest:
        code, rest = rest[0], rest[1:]
        if code == 255:
            return found
        if code == 0:
            continue
        if not rest or len(rest) - 1 < rest[0]:
            return None
        value, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        if code in FIELDS:
            name, length = FIELDS[code]
            if len(value) != length:
                return None
            found[name] = int.from_bytes(value, "big")
    return None


@st.composite
def datagrams(draw):
    """Mostly answers, whole or with one thing wrong."""
    options = draw(
        st.lists(
            st.one_of(
                st.tuples(st.sampled_from(sorted(FIELDS)), st.binary(min_size=4, max_size=4)),
                st.tuples(st.just(53), st.binary(min_size=1, max_size=1)),
                st.tuples(st.integers(1, 254), st.binary(max_size=20)),
                st.just((0, None)),
            ),
            max_size=8,
        )
    )
    text = b"".join(
        b"\0"
        if value is None
        else bytes((code, min(len(value), FIELDS.get(code, ("", 99))[1]))) + value[: FIELDS.get(code, ("", 99))[1]]
        for code, value in options
    )
    data = (
        head(draw(st.binary(min_size=4, max_size=4)))
        + text
        + draw(st.sampled_from([b"\xff", b"\xff", b"\xff\0\0", b""]))
    )
    told, port, damaged = len(data), 67, False
    match draw(st.integers(0, 9)):
        case 0:
            place = draw(st.integers(0, len(data) - 1))
            data = data[:place] + bytes((data[place] ^ draw(st.integers(1, 255)),)) + data[place + 1 :]
        case 1:
            told = len(data := data[: draw(st.integers(1, len(data)))])
        case 2:
            told = max(1, told + draw(st.integers(-9, 9)))
        case 3:
            port = draw(st.sampled_from([0, 66, 68, 67 << 8]))
        case 4:
            damaged = True
        case _:
            pass
    return data, port, damaged, told, draw(st.booleans())


@settings(max_examples=5, deadline=None)
@given(st.lists(datagrams(), min_size=3, max_size=8))
def test_what_is_read_is_what_was_meant(drawn):
    """One after the other, each when the one before has been read, or (``early``) directly behind it, where it may be dropped."""
    dut = DhcpReader(mac=int.from_bytes(MAC, "big"))
    answers = []

    def sampled(ctx):
        return {name: ctx.get(getattr(dut.o_answer, name)) for name in ("address", *(n for n, _ in FIELDS.values()))}

    async def watch(ctx):
        async for _, _, valid in ctx.tick().sample(dut.o_valid):
            if valid:
                answers.append(sampled(ctx))

    async def drive(ctx):
        ctx.set(dut.i_xid, int.from_bytes(XID, "little"))
        for data, port, damaged, told, early in drawn:
            padded = data + bytes(-len(data) % 4)
            for place in range(0, len(padded), 4):
                word = {"data": int.from_bytes(padded[place : place + 4], "little"), "last": place + 4 >= len(padded)}
                word |= {"error": damaged and word["last"], "length": told, "src_port": port, "dst_port": 68}
                ctx.set(dut.i_word, {**word, "last_be": 0, "ip_address": 0})
                ctx.set(dut.i_valid, 1)
                await ctx.tick()
                ctx.set(dut.i_valid, 0)
                if place % 12 == 0:
                    await ctx.tick()
            for _ in range(0 if early else 2 * len(data) + 10):
                await ctx.tick()
        for _ in range(2 * 400):
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(watch, background=True)
    simulator.add_testbench(drive)
    simulator.run()
    expected, certain = [], []
    alone = True
    for data, port, damaged, told, early in drawn:
        fields = understood(data, port, damaged, told)
        if fields is not None:
            expected.append(fields)
            certain.append(alone)
        alone = not early
    # Those that came while another one was read may be missing; all others are there, in order, and nothing else is.
    left = list(answers)
    for fields, sure in zip(expected, certain, strict=True):
        if left and left[0] == fields:
            left.pop(0)
        else:
            assert not sure, fields
    assert not left


def test_a_message_is_what_the_rfc_draws():
    words = constant_words(int.from_bytes(MAC, "big"))
    assert len(words) == MESSAGE_WORDS
    text = b"".join(word.to_bytes(4, "little") for word in words)
    assert text[:236] == bytes((1, 1, 6, 0)) + bytes(24) + MAC + bytes(202)
    assert text[236:240] == COOKIE
    options, place = {}, 240
    while text[place] != 255:
        if text[place]:
            options[text[place]] = text[place + 2 : place + 2 + text[place + 1]]
            place += 1 + text[place + 1]
        place += 1
    assert options[61] == b"\1" + MAC
    assert options[12] == host_name(int.from_bytes(MAC, "big")).encode() == b"twinphase-abcdef"
    assert options[55] == bytes((1, 51, 58, 59))
    assert set(options) == {12, 50, 53, 54, 55, 61}
    assert len(text) == 300


def test_a_second_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="second_clocks is 999; allowed: at least 1000"):
        DhcpClient(mac=1, fallback=0, second_clocks=999)
