"""A netlist as C++ that evaluates 512 instances of it at once, a bit of each in a vector (`slices.h`).

``struct Gates``: ``in`` and ``out``, planes of the ports that were asked for; ``clock()`` computes ``out`` from ``in`` and the state and
then gives the edge: ``out`` is what it was before it. Flip-flops with an enable that no instance has set in a clock cost nothing, and
neither does the logic that is theirs alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from .gates import Bit, Memory, Netlist

PART_LUTS = 300
"""Of a function: the compiler's time grows faster than a function's length."""
LEAST_GROUP = 12
"""Flip-flops with an enable in common that are worth a branch."""
_MAIN = -1


class _Writer:
    """Writes one netlist. Names of values: q state, r words read, in ports, t what one function leaves to others, n in a function."""

    def __init__(self, netlist: Netlist, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        self.netlist = netlist
        self.luts = {lut.output: lut for lut in netlist.luts}
        self.names: dict[Bit, str] = {"0": "ZEROS", "1": "ONES", "x": "ZEROS"}
        self.flipflops = list(netlist.flipflops)
        for k, flipflop in enumerate(self.flipflops):
            self.names[flipflop.output] = f"q[{k}]"
        self.reads = 0
        self.read_at: dict[int, int] = {}
        for memory in netlist.memories:
            for _, _, data in memory.reads:
                self.read_at[id(data)] = self.reads
                for read in data:
                    self.names[read] = f"r[{self.reads}]"
                    self.reads += 1
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.in_at: dict[str, int] = {}
        at = 0
        for name in self.inputs:
            self.in_at[name] = at
            for bit in netlist.inputs[name]:
                self.names[bit] = f"in[{at}]"
                at += 1
        self.in_count = at
        self.slots: dict[int, int] = {}

    def text(self) -> str:
        groups: dict[Bit, list[int]] = defaultdict(list)
        for k, flipflop in enumerate(self.flipflops):
            groups[flipflop.enable].append(k)
        gated = [
            (enable, members) for enable, members in groups.items() if enable != "1" and len(members) >= LEAST_GROUP
        ]
        group_of = {k: g for g, (_, members) in enumerate(gated) for k in members}
        main = [k for k in range(len(self.flipflops)) if k not in group_of]

        kept: list[Bit] = [enable for enable, _ in gated]
        for memory in self.netlist.memories:
            kept += _uses(memory)
        out_bits = [bit for name in self.outputs for bit in self.netlist.outputs[name]]
        kept += out_bits
        owner = self._owners(kept, group_of)
        wanted = [bit for k in main for bit in (self.flipflops[k].enable, self.flipflops[k].data)]
        order = self._ordered([*kept, *wanted, *(lut for lut in owner if owner[lut] == _MAIN)])
        order = [lut for lut in order if owner[lut] == _MAIN]
        place = {lut: k // PART_LUTS for k, lut in enumerate(order)}
        # Which values another function needs: those of another part, of a group, of memories and ports.
        shared: set[Bit] = {bit for bit in kept if bit in self.luts}
        for lut, its in owner.items():
            for bit in self.luts[lut].inputs:
                if bit in place and (its != _MAIN or place[bit] != place[lut]):
                    shared.add(bit)
        of_part: dict[int, list[int]] = defaultdict(list)
        for k in main:
            flipflop = self.flipflops[k]
            at = max((place[b] for b in (flipflop.data, flipflop.enable) if b in place), default=0)
            of_part[at].append(k)
            shared |= {b for b in (flipflop.data, flipflop.enable) if b in place and place[b] != at}
        for members in (m for _, m in gated):
            shared |= {self.flipflops[k].data for k in members if self.flipflops[k].data in place}
        self.slots = {bit: k for k, bit in enumerate(sorted(b for b in shared if isinstance(b, int)))}

        lines = ['#include "slices.h"', "using namespace slices;", "namespace {"]
        arguments = (
            "const V* __restrict q, const V* __restrict in, const V* __restrict r, V* __restrict t, V* __restrict d"
        )
        parts = max(place.values(), default=-1) + 1
        for part in range(max(parts, 1)):
            here = order[part * PART_LUTS : (part + 1) * PART_LUTS]
            lines += [
                f"__attribute__((noinline)) void part{part}({arguments}) {{",
                *self._body(here, of_part[part]),
                "}",
            ]
        for g, (enable, members) in enumerate(gated):
            own = [lut for lut in self._ordered([self.flipflops[k].data for k in members]) if owner[lut] == g]
            lines += [
                f"__attribute__((noinline)) void group{g}({arguments}, bool& moved) {{",
                f"  if (!any({self._name(enable)})) {{",
                "    if (!moved) return;",
                "    moved = false;",
                *(f"    d[{k}] = q[{k}];" for k in members),
                "    return;",
                "  }",
                "  moved = true;",
                *self._body(own, members),
                "}",
            ]
        lines += ["}", *self._class(max(parts, 1), len(gated), out_bits)]
        return "\n".join(lines) + "\n"

    def _owners(self, kept: list[Bit], group_of: dict[int, int]) -> dict[int, int]:
        """Of each LUT the group that alone uses it, or the main part; LUTs that nothing uses are left out."""
        users: dict[Bit, set[int]] = defaultdict(set)
        for bit in kept:
            users[bit].add(_MAIN)
        for k, flipflop in enumerate(self.flipflops):
            users[flipflop.data].add(group_of.get(k, _MAIN))
            if k not in group_of:
                users[flipflop.enable].add(_MAIN)
        owner: dict[int, int] = {}
        for lut in reversed(self._ordered([bit for bit in users if bit in self.luts])):
            its = users[lut]
            owner[lut] = next(iter(its)) if len(its) == 1 else _MAIN
            for bit in self.luts[lut].inputs:
                users[bit].add(owner[lut])
        return owner

    def _ordered(self, wanted: Iterable[Bit]) -> list[int]:
        """LUTs that ``wanted`` hang on, each after its inputs, cone by cone. ValueError for a loop."""
        done: dict[int, bool] = {}
        order: list[int] = []
        for root in wanted:
            if root not in self.luts or root in done:
                continue
            stack: list[tuple[int, Iterator[Bit]]] = [(int(root), iter(self.luts[int(root)].inputs))]
            done[int(root)] = False
            while stack:
                lut, left = stack[-1]
                for bit in left:
                    if bit in self.luts and bit not in done:
                        done[int(bit)] = False
                        stack.append((int(bit), iter(self.luts[int(bit)].inputs)))
                        break
                    if bit in self.luts and not done[int(bit)]:
                        raise ValueError(f"netlist: net {bit} is part of a loop of gates")
                else:
                    stack.pop()
                    done[lut] = True
                    order.append(lut)
        return order

    def _name(self, bit: Bit, local: set[int] | None = None) -> str:
        if local is not None and bit in local:
            return f"n{bit}"
        return f"t[{self.slots[int(bit)]}]" if bit in self.slots else self.names[bit]

    def _body(self, luts: list[int], flipflops: list[int]) -> list[str]:
        local: set[int] = set()
        lines, waiting = [], defaultdict(list)
        for k in flipflops:
            flipflop = self.flipflops[k]
            needs = {b for b in (flipflop.data, flipflop.enable) if b in luts}
            waiting[max(needs, key=luts.index, default=-1)].append(k)

        def update(k: int) -> str:
            flipflop = self.flipflops[k]
            data = self._name(flipflop.data, local)
            if flipflop.enable != "1":
                data = f"chosen({self._name(flipflop.enable, local)}, {data}, q[{k}])"
            return f"  d[{k}] = {data};"

        lines += [update(k) for k in waiting[-1]]
        for net in luts:
            lut = self.luts[net]
            c, b, a = (*(self._name(bit, local) for bit in lut.inputs), "ZEROS", "ZEROS")[:3]
            lines.append(f"  const V n{net} = lut<{lut.table}>({a}, {b}, {c});")
            local.add(net)
            if net in self.slots:
                lines.append(f"  t[{self.slots[net]}] = n{net};")
            lines += [update(k) for k in waiting[net]]
        return lines

    def _class(self, parts: int, groups: int, out_bits: list[Bit]) -> list[str]:
        lines, members, edges = [], [], []
        for number, memory in enumerate(self.netlist.memories):
            longs = -(-memory.width // 64)
            values = [value >> 64 * k & (1 << 64) - 1 for value in memory.initial for k in range(longs)]
            lines += [
                f"static const uint64_t initial{number}[{len(values)}] = {{{', '.join(f'{value}u' for value in values)}}};"
            ]
            for port, (address, enable, data) in enumerate(memory.reads):
                name, at = f"memory{number}_{port}", self.read_at[id(data)]
                planes = ", ".join(self._name(bit) for bit in address)
                edges.append(f"    {{ const V address[] = {{{planes}}};")
                if memory.write is None:
                    if memory.words != 256 or memory.width % 8:
                        raise ValueError(
                            f"netlist: a ROM of {memory.words} words of {memory.width} bits is not provided for"
                        )
                    members.append(f"  Rom<{memory.width}> {name}{{initial{number}}};")
                    edges.append(f"      {name}.clock(address, {self._name(enable)}, r_next + {at}); }}")
                    continue
                to, strobe, taken = memory.write
                members.append(f"  Ram<{memory.words}, {memory.width}, {len(address)}> {name}{{initial{number}}};")
                edges += [
                    f"      const V to[] = {{{', '.join(self._name(bit) for bit in to)}}};",
                    f"      {name}.clock(address, {self._name(enable)}, to, {self._name(strobe)}, [&](V* w) {{",
                    *(f"        w[{k}] = {self._name(bit)};" for k, bit in enumerate(taken)),
                    f"      }}, r_next + {at}); }}",
                ]
        calls = "q, in, r, t, d"
        initial = "".join(str(flipflop.initial) for flipflop in self.flipflops)
        at = 0
        places = []
        for name in self.outputs:
            places.append(f"  static constexpr unsigned {name.upper()} = {at};")
            at += len(self.netlist.outputs[name])
        return [
            *lines,
            "struct Gates {",
            *(f"  static constexpr unsigned {name.upper()} = {place};" for name, place in self.in_at.items()),
            *places,
            f"  static constexpr unsigned FLIPFLOPS = {len(self.flipflops)};",
            f"  V in[{max(self.in_count, 1)}]{{}}, out[{max(at, 1)}]{{}};",
            *members,
            f"  V state[2][{max(len(self.flipflops), 1)}], t[{max(len(self.slots), 1)}]{{}};",
            f"  V r[{max(self.reads, 1)}]{{}}, r_after[{max(self.reads, 1)}]{{}};",
            f"  bool moved[{max(groups, 1)}]{{}};",
            "  unsigned now = 0;",
            "  Gates() {",
            f'    const char* initial = "{initial}";',
            f"    for (unsigned k = 0; k < {len(self.flipflops)}; k++) state[0][k] = state[1][k] = initial[k] == '1' ? ONES : ZEROS;",
            "  }",
            "  void clock() {",
            "    const V* q = state[now];",
            "    V* d = state[now ^ 1];",
            *(f"    part{part}({calls});" for part in range(parts)),
            *(f"    group{group}({calls}, moved[{group}]);" for group in range(groups)),
            *(f"    out[{k}] = {self._name(bit)};" for k, bit in enumerate(out_bits)),
            "    V* r_next = r_after;",
            *edges,
            "    std::memcpy(r, r_after, sizeof(r));",
            "    now ^= 1;",
            "  }",
            "};",
        ]


def _uses(memory: Memory) -> list[Bit]:
    used: list[Bit] = [bit for address, enable, _ in memory.reads for bit in (*address, enable)]
    if memory.write is not None:
        address, strobe, data = memory.write
        used += [*address, strobe, *data]
    return used


def gates_header(netlist: Netlist, *, inputs: Iterable[str], outputs: Iterable[str]) -> str:
    """Text of ``gates.h``."""
    return _Writer(netlist, inputs, outputs).text()
