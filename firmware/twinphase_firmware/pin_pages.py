"""The table of pins on the boards' page (docs/boards.md), from `boards` and the connectors of the platforms."""

from __future__ import annotations

from .boards import BOARDS, Board
from .loaders import LOADERS

BEGIN = "<!-- pins: made by docs/generate.py -->"
END = "<!-- end of pins -->"
PRINTED = {
    "pmod": "Pmod {number}, pin {pin}",
    "gpio": "GP{pin}",
    "expcon": "X{expansion}, pin {pin}",
    "syzygy": "SYZYGY {number}, {pin}",
    "j": "J{number}, pin {pin}",
}
"""How a connector's pin is printed on the boards; the Versa's expansion connectors 1 and 2 are X3 and X4."""


def with_pins(page: str) -> str:
    """``page`` with what is between its marks replaced. Raises ValueError for a page without them, or with more than one pair."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the boards' page: its marks are {BEGIN!r} and {END!r}, each once and in this order")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{pins_markdown()}{END}{rest.partition(END)[2]}"


def pins_markdown() -> str:
    """A row per signal, a column per board, then what is built for each board, and by which tools it is loaded."""
    boards = list(BOARDS.values())
    most = max(len(board.input_pins.split()) for board in boards)
    rows = [["signal", *(board.name for board in boards)]]
    rows.append(["part", *(board.part for board in boards)])
    rows.append(["nodes", *(", ".join(board.nodes) for board in boards)])
    rows.append(["link", *(_links(board) for board in boards)])
    rows.append(["clock", *(f"{board.clock_hz / 1e6:g} MHz" for board in boards)])
    rows += [[f"channel {i}", *(_input(board, i) for board in boards)] for i in range(most)]
    rows.append(["test pulser", *(_place(board, *board.output_pin) for board in boards)])
    rows.append(["loaded by", *(", ".join(loader.tool for loader in LOADERS[board.name]) for board in boards)])
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body, ""])


def _links(board: Board) -> str:
    ways = {"serial": board.uart, "UDP": board.rgmii, "USB": board.ulpi}
    return ", ".join(name for name, way in ways.items() if way is not None)


def _input(board: Board, channel: int) -> str:
    pins = board.input_pins.split()
    return _place(board, *board.connector, pins[channel]) if channel < len(pins) else ""


def _place(board: Board, connector: str, number: int, pin: str) -> str:
    """As printed, and the part's ball."""
    ball = board.platform().connectors[connector, number].mapping[pin]
    return f"{PRINTED[connector].format(number=number, expansion=number + 2, pin=pin)} ({ball})"
