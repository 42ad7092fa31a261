"""Make a board on UDP send its streams to a multicast group, once for all who listen, or to each subscriber again.

Who wants the streams then opens udp://HOST?group=ADDRESS:PORT and joins the group by that; who opens the board without it gets none.
Registers are read and written as before. The board forgets the group when it loses power. Without ADDRESS the command says what holds.

example:
  twinphase group udp://192.168.1.50 239.1.2.3
  twinphase record 'udp://192.168.1.50?group=239.1.2.3' --out run1
  twinphase group udp://192.168.1.50 239.1.2.3:9761 --json
  twinphase group udp://192.168.1.50 --clear
"""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="the board, udp://host:port")
    parser.add_argument(
        "address", nargs="?", metavar="ADDRESS[:PORT]", help="the group, of IPv4; port 9760 if none is said"
    )
    parser.add_argument("--clear", action="store_true", help="to each subscriber again")
    parser.add_argument("--json", action="store_true", help="print what the link says afterwards, as JSON")


def run(arguments: argparse.Namespace) -> int:
    import json

    from ..errors import TwinphaseError
    from ..transport.group import ALLOWED, read_group
    from ..transport.udp_link import NO_GROUP, UdpLinkDevice

    if arguments.clear and arguments.address:
        raise TwinphaseError(f"--clear and a group, {arguments.address}, were given; allowed: one of them, or neither")
    group = None
    if arguments.address:
        try:
            group = read_group(arguments.address)
        except ValueError as error:
            raise TwinphaseError(f"{arguments.address} is no group; allowed: {ALLOWED}") from error
    with UdpLinkDevice(arguments.url) as link:
        if group or arguments.clear:
            link.set_group(*group or NO_GROUP)
        state = link.state()
    if arguments.json:
        print(json.dumps({"url": arguments.url} | state))
    elif state["group"]:
        print(
            f"{arguments.url} sends to {state['group']}: open {arguments.url.partition('?')[0]}?group={state['group']}"
        )
    else:
        print(f"{arguments.url} sends to each of its {state['subscribers']} subscribers")
    return 0
