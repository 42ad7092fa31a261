"""What a protocol asks of a lab's clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lab import Lab


def check_protocol(lab: Lab) -> None:
    """ValueError where a client's source could send a code that the lab's protocol has no rule for, or pairs are asked for and not
    named."""
    name, span = lab.protocol.name, lab.protocol.pair_span_pulses
    if (name == "MP") != (span > 0):
        raise ValueError(
            f"protocol.pair_span_pulses is {span}; allowed: {'1 to 4294967295' if name == 'MP' else '0'} with protocol {name}"
        )
    for user in ("alice", "bob"):
        client = getattr(lab.clients, user)
        wanted: dict[str, float] = {}
        if name in ("PM", "MP", "BB84"):
            wanted["z_probability"] = 0
        if name == "CAL":
            wanted["send_probability"] = 1
        if name == "BB84" and user == "bob":
            wanted |= {"vacuum_probability": 0, "mu1_probability": 1}
        for key, value in wanted.items():
            if getattr(client, key) != value:
                raise ValueError(
                    f"clients.{user}.{key} is {getattr(client, key):g}; allowed: {value:g} with protocol {name} (docs/rules.md)"
                )
