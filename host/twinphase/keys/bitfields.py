"""Unsigned fields of any width, lowest bit first, one after the other without gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def pack_fields(fields: Iterable[tuple[int, int]]) -> bytes:
    """(value, width in bits) of each field; zeros up to a whole byte. ValueError for a value that does not fit."""
    out, pending, filled = bytearray(), 0, 0
    for value, width in fields:
        if not 0 <= value < 1 << width:
            raise ValueError(f"field: {value} does not fit into {width} bits")
        pending |= value << filled
        filled += width
        whole = filled // 8
        out += (pending & ((1 << 8 * whole) - 1)).to_bytes(whole, "little")
        pending >>= 8 * whole
        filled -= 8 * whole
    return bytes(out) + (pending.to_bytes(1, "little") if filled else b"")


def unpack_fields(data: bytes, widths: Sequence[int]) -> list[int]:
    """The fields' values. ValueError when ``data`` has another length than they need or bits that are not 0 behind them."""
    need = (sum(widths) + 7) // 8
    if len(data) != need:
        raise ValueError(f"{len(data)} bytes of fields instead of {need}")
    values, at = [], 0
    for width in widths:
        first, shift = divmod(at, 8)
        chunk = int.from_bytes(data[first : (at + width + 7) // 8], "little")
        values.append(chunk >> shift & ((1 << width) - 1))
        at += width
    if at % 8 and data[-1] >> at % 8:
        raise ValueError("bits behind the last field are not 0")
    return values
