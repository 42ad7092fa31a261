"""The register map as hardware."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import reduce
from operator import or_

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from twinphase_spec import units
from twinphase_spec.registers import Access, Register, RegisterMap

ADDRESS_BITS = 16
GROUP_BITS = 4
GROUP_WORDS = 1 << GROUP_BITS
IDENTITY = ("ID_MAGIC", "NODE_TYPE", "INTERFACE_VERSION", "CLOCK_HZ", "MAP_HASH", "BUILD_HASH")
"""RO registers that are constants of the build; they have no member."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A word that only writes change: its width, its value after reset, and whether it can be written."""

    width: int
    value: int
    is_written: bool


class RegisterBank(wiring.Component):
    """All registers of a `RegisterMap`, and the doors to its memories.

    Members (names of the map in lower case)
    -------
    i_address : In(16) - word address of a read and of a write.
    i_write, i_write_data : In(1), In(32) - write in this clock.
    o_read_data : Out(32) - the word at ``i_address``, ``latency`` clocks later; unmapped and W1: 0.
    o_<name> : Out(width) - RW register, three clocks after the write; W1: strobe, three clocks after it.
    o_<name>_written : Out(1) - of an RW register among ``strobes``: strobe, in the first clock of a written value.
    i_<name> : In(width) - RO register other than the identity.
    o_<memory>_address, o_<memory>_write, o_<memory>_data : Out - RW memory: write port, two clocks after the write. The bank does
        not read it back (its read port belongs to the node): it reads 0.
    o_<memory>_address : Out; i_<memory>_data : In - RO memory: data one clock after the address.

    Latency: 4 clocks (read). Throughput: a read or a write per clock; a word is read as written two clocks after the write or later, and
    must not be read in the clock after it.
    """

    latency = 4

    def __init__(
        self,
        register_map: RegisterMap,
        *,
        build_hash: int = 0,
        clock_hz: int = units.CLOCK_HZ,
        constants: dict[str, int] | None = None,
        strobes: Collection[str] = (),
    ):
        """``constants``: values of further RO registers that the build knows (they lose their member). ``strobes``: RW registers of
        one word that have a member for their writes."""
        if not 0 <= build_hash < 1 << 32:
            raise ValueError(f"registers: build_hash is {build_hash}; allowed: 32 bits")
        kept = {
            register.name for register in register_map.registers if register.access is Access.RW and register.words == 1
        }
        if unknown := {*strobes} - kept:
            raise ValueError(f"registers: strobes has {', '.join(sorted(unknown))}; allowed: RW registers of one word")
        read_only = {register.name for register in register_map.registers if register.access is Access.RO}
        if unknown := {*(constants or {})} - read_only:
            raise ValueError(f"registers: constants has {', '.join(sorted(unknown))}; allowed: RO registers of the map")
        self._map = register_map
        self._strobes = frozenset(strobes)
        self._constants = {
            "CLOCK_HZ": clock_hz,
            "MAP_HASH": register_map.hash,
            "BUILD_HASH": build_hash,
            **{name: register_map[name].reset for name in IDENTITY[:3]},
            **(constants or {}),
        }
        members = {"i_address": In(ADDRESS_BITS), "i_write": In(1), "i_write_data": In(32), "o_read_data": Out(32)}
        for register in register_map.registers:
            name = register.name.lower()
            if register.access is Access.W1:
                members[f"o_{name}"] = Out(1)
            elif register.access is Access.RW:
                reset = register.reset
                members[f"o_{name}"] = Out(_shape(register), init=reset)
                if register.name in self._strobes:
                    members[f"o_{name}_written"] = Out(1)
            elif register.name not in self._constants:
                members[f"i_{name}"] = In(_shape(register))
        for entry in register_map.memories:
            name = entry.name.lower()
            members[f"o_{name}_address"] = Out(ceil_log2(entry.words))
            if entry.access is Access.RW:
                members[f"o_{name}_write"] = Out(1)
                members[f"o_{name}_data"] = Out(entry.width)
            else:
                members[f"i_{name}_data"] = In(entry.width)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        address = Signal(ADDRESS_BITS)
        m.d.sync += address.eq(self.i_address)
        later_address = Signal.like(address)
        m.d.sync += later_address.eq(address)
        numbers = sorted({register.address // GROUP_WORDS for register in self._map.registers})
        here, later_here, read = {}, {}, {}
        """By group: whether ``address`` is in it; the same a clock later; what is read, 0 if it is not there."""
        for number in numbers:
            here[number], later_here[number] = Signal(name=f"in_{number}"), Signal(name=f"later_in_{number}")
            m.d.sync += [
                here[number].eq(self.i_address[GROUP_BITS:] == number),
                later_here[number].eq(here[number]),
            ]

        # What the node drives is chosen in three clocks: among four words, among the fours of a group, among the groups.
        live = {}
        for register in self._map.registers:
            if register.access is Access.RO and register.name not in self._constants:
                value = getattr(self, f"i_{register.name.lower()}").as_unsigned()
                live |= {register.address + half: value[32 * half : 32 * half + 32] for half in range(register.words)}
        for number in sorted({address // GROUP_WORDS for address in live}):
            read[number] = Signal(32, name=f"group_{number}")
            m.d.sync += read[number].eq(0)
            for four in range(GROUP_WORDS // 4):
                first = number * GROUP_WORDS + 4 * four
                if not live.keys() & {*range(first, first + 4)}:
                    continue
                word = Signal(32, name=f"four_{number}_{four}")
                m.d.sync += word.eq(Array(live.get(a, Const(0, 32)) for a in range(first, first + 4))[address[:2]])
                with m.If(later_here[number] & (later_address[2:GROUP_BITS] == four)):
                    m.d.sync += read[number].eq(word)

        # A write is decoded into one register per target word, so that only its own strobe and the data travel to it.
        written, data = Signal(), Signal(32)
        write_data = Signal(32)
        kept = self._kept_words()
        known = {address: Const(1) for address, word in kept.items() if not word.is_written}
        """By address of a kept word: it is a constant, or has been written since reset."""
        m.d.sync += [written.eq(self.i_write), data.eq(self.i_write_data), write_data.eq(data)]
        for register in self._map.registers:
            name = register.name.lower()
            for half in range(register.words if register.access in (Access.RW, Access.W1) else 0):
                number, place = divmod(register.address + half, GROUP_WORDS)
                strobe = Signal(name=f"{name}_{half}_written")
                m.d.sync += strobe.eq(self._written_at(m, number, place, written, here[number], address))
                if register.access is Access.W1:
                    m.d.sync += getattr(self, f"o_{name}").eq(strobe & write_data[0])
                else:
                    target = getattr(self, f"o_{name}").as_unsigned()
                    if register.name in self._strobes:
                        m.d.sync += getattr(self, f"o_{name}_written").eq(strobe)
                    known[register.address + half] = Signal(name=f"{name}_{half}_known")
                    with m.If(strobe):
                        m.d.sync += target[32 * half : 32 * half + 32].eq(write_data)
                        m.d.sync += known[register.address + half].eq(1)

        # What has been written, and constants, are read from a copy in block RAM. A reset does not clear that: a word counts only when it
        # has been written since, else its reset value. The copy has all bits that were written, the register its width.
        bits = ceil_log2(max(kept) + 1)
        init = [kept[a].value if a in kept else 0 for a in range(1 << bits)]
        m.submodules.copy = copy = memory.Memory(shape=32, depth=1 << bits, init=init, attrs={"ram_style": "block"})
        copy_write, copy_read = copy.write_port(), copy.read_port()
        constant = sum(1 << a for a, word in kept.items() if not word.is_written)
        inside, copied, not_known = Signal(), Signal(32), Signal(32)
        m.d.comb += [copy_write.addr.eq(later_address), copy_write.data.eq(write_data), copy_read.addr.eq(address)]
        m.d.sync += [
            inside.eq(self.i_address[bits:] == 0),
            copy_write.en.eq(written & inside & ~self._in_table(m, constant, address[:bits], self.i_address[:bits])),
            copied.eq(copy_read.data),
            not_known.eq(0),
        ]
        known_here = []
        for number in sorted({a // GROUP_WORDS for a in kept}):
            places = range(number * GROUP_WORDS, (number + 1) * GROUP_WORDS)
            words = [known.get(a, Const(0)) for a in places]
            flag = self._known_in_group(m, number, words, address, self.i_address, here[number])
            known_here.append(self._known_here(flag, later_here[number]))
            self._choose_not_known(m, not_known, kept, number, flag, later_here[number], later_address)
        self._join_not_known(m, not_known, kept, address, known_here)
        reaches = {}
        for width in sorted({word.width for word in kept.values()}):
            wide = sum(1 << a for a, word in kept.items() if word.width >= width)
            reaches[width] = Signal(name=f"reaches_{width}")
            m.d.sync += reaches[width].eq(
                reduce(or_, known_here) & self._in_table(m, wide, later_address[:bits], address[:bits])
            )
        mask = Cat(reaches[min(w for w in reaches if w > bit)] for bit in range(max(reaches)))
        read["copy"], read["reset"] = copied & mask, not_known

        for entry in self._map.memories:
            name = entry.name.lower()
            bits = ceil_log2(entry.words)
            if entry.words != 1 << bits or entry.address % entry.words:
                raise ValueError(f"registers: memory {entry.name} must be a power of 2 long and aligned to its length")
            port = getattr(self, f"o_{name}_address")
            inside = Signal(name=f"in_{name}")
            m.d.sync += inside.eq(self.i_address[bits:] == entry.address >> bits)
            if entry.access is Access.RW:
                m.d.sync += [port.eq(address), getattr(self, f"o_{name}_write").eq(written & inside)]
                m.d.comb += getattr(self, f"o_{name}_data").eq(write_data)
            else:
                # Block RAM is slow: its data gets a register of its own, and is chosen among all that is read a clock later.
                word = Signal(entry.width, name=f"{name}_word")
                later_inside, chosen = Signal(name=f"later_in_{name}"), Signal(name=f"{name}_chosen")
                m.d.comb += port.eq(address)
                m.d.sync += [
                    word.eq(getattr(self, f"i_{name}_data")),
                    later_inside.eq(inside),
                    chosen.eq(later_inside),
                ]
                read[name] = Mux(chosen, word, 0)
        m.d.sync += self.o_read_data.eq(reduce(or_, read.values()))
        return m

    def _known_in_group(
        self, m: Module, number: int, words: list[Value], address: Value, before: Value, here: Value
    ) -> Value:
        """Which of the 16 ``words`` of group ``number`` is at ``address``, a clock later; anything when that is not ``here``.

        ``before``: ``address`` in the next clock.
        """
        flag = Signal(name=f"known_{number}")
        m.d.sync += flag.eq(Array(words)[address[:GROUP_BITS]])
        return flag

    def _written_at(self, m: Module, number: int, place: int, written: Value, here: Value, address: Value) -> Value:
        """Whether word ``place`` of group ``number`` is written. ``here``: ``address`` is in the group."""
        return written & here & (address[:GROUP_BITS] == place)

    def _known_here(self, flag: Value, here: Value) -> Value:
        """What `_known_in_group` says, 0 if the address of then is not ``here``."""
        return flag & here

    def _choose_not_known(
        self, m: Module, not_known: Signal, kept: dict[int, Kept], number: int, flag: Value, here: Value, address: Value
    ) -> None:
        """Takes the reset value of the word at ``address`` into ``not_known`` if it is in the group and not known by its ``flag``."""
        places = range(number * GROUP_WORDS, (number + 1) * GROUP_WORDS)
        for a in {*places} & {a for a, word in kept.items() if word.is_written and word.value}:
            with m.If(here & (address[:GROUP_BITS] == a % GROUP_WORDS) & ~flag):
                m.d.sync += not_known.eq(kept[a].value)

    def _join_not_known(
        self, m: Module, not_known: Signal, kept: dict[int, Kept], address: Value, known_here: list[Value]
    ) -> None:
        """The same at once for all groups, a clock after ``address``, for banks that do not choose by group."""

    def _in_table(self, m: Module, table: int, address: Value, before: Value) -> Value:
        """Bit ``address`` of ``table``. ``before``: ``address`` in the next clock."""
        return Const(table, 1 << len(address)).bit_select(address, 1)

    def _kept_words(self) -> dict[int, Kept]:
        """By address: the words of RW registers and of constants."""
        words = {}
        for register in self._map.registers:
            constant = register.name in self._constants
            if not constant and register.access is not Access.RW:
                continue
            value = self._constants[register.name] if constant else register.reset
            for half in range(register.words):
                words[register.address + half] = Kept(
                    width=min(register.width - 32 * half, 32),
                    value=value >> 32 * half & (1 << min(register.width - 32 * half, 32)) - 1,
                    is_written=not constant,
                )
        return words


def _shape(register: Register):
    return signed(register.width) if register.signed else unsigned(register.width)
