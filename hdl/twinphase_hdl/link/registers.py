"""The register map as hardware."""

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from twinphase_spec import units
from twinphase_spec.registers import Access, Register, RegisterMap

ADDRESS_BITS = 16
GROUP_BITS = 4
GROUP_WORDS = 1 << GROUP_BITS
IDENTITY = ("ID_MAGIC", "NODE_TYPE", "INTERFACE_VERSION", "CLOCK_HZ", "MAP_HASH", "BUILD_HASH")
"""RO registers that are constants of the build; they have no member."""


class RegisterBank(wiring.Component):
    """All registers of a `RegisterMap`, and the doors to its memories.

    Members (names of the map in lower case)
    -------
    i_address : In(16) - word address of a read and of a write.
    i_write, i_write_data : In(1), In(32) - write in this clock.
    o_read_data : Out(32) - the word at ``i_address``, ``latency`` clocks later; unmapped and W1: 0.
    o_<name> : Out(width) - RW register, three clocks after the write; W1: strobe, three clocks after it.
    i_<name> : In(width) - RO register other than the identity.
    o_<memory>_address, o_<memory>_write, o_<memory>_data : Out - RW memory: write port, two clocks after the write. The bank does
        not read it back (its read port belongs to the node): it reads 0.
    o_<memory>_address : Out; i_<memory>_data : In - RO memory: data one clock after the address.

    Latency: 3 clocks (read). Throughput: a read or a write per clock.
    """

    latency = 3

    def __init__(
        self,
        register_map: RegisterMap,
        *,
        build_hash: int = 0,
        clock_hz: int = units.CLOCK_HZ,
        constants: dict[str, int] | None = None,
    ):
        """``constants``: values of further RO registers that the build knows (they lose their member)."""
        if not 0 <= build_hash < 1 << 32:
            raise ValueError(f"registers: build_hash is {build_hash}; allowed: 32 bits")
        self._map = register_map
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
        word = Signal(32)
        m.d.sync += address.eq(self.i_address)

        # Reading takes two clocks of small choices: first within each group of 16 words, then among the groups.
        words = {}
        for register in self._map.registers:
            if register.access is not Access.W1:
                value = self._value(register)
                words |= {register.address + half: value[32 * half : 32 * half + 32] for half in range(register.words)}
        later_address = Signal(ADDRESS_BITS)
        m.d.sync += later_address.eq(address)
        groups = {number: Signal(32, name=f"group_{number}") for number in sorted({a // GROUP_WORDS for a in words})}
        for number, group in groups.items():
            m.d.sync += group.eq(0)
            with m.Switch(address[:GROUP_BITS]):
                for a in words:
                    if a // GROUP_WORDS == number:
                        with m.Case(a % GROUP_WORDS):
                            m.d.sync += group.eq(words[a])
        with m.Switch(later_address[GROUP_BITS:]):
            for number, group in groups.items():
                with m.Case(number):
                    m.d.comb += word.eq(group)
        # A write is decoded into one register per target word, so that only its own strobe and the data travel to it.
        written, data = Signal(), Signal(32)
        write_data = Signal(32)
        m.d.sync += [written.eq(self.i_write), data.eq(self.i_write_data), write_data.eq(data)]
        for register in self._map.registers:
            name = register.name.lower()
            for half in range(register.words if register.access in (Access.RW, Access.W1) else 0):
                here = Signal(name=f"{name}_{half}_written")
                m.d.sync += here.eq(written & (address == register.address + half))
                if register.access is Access.W1:
                    m.d.sync += getattr(self, f"o_{name}").eq(here & write_data[0])
                else:
                    target = getattr(self, f"o_{name}").as_unsigned()
                    with m.If(here):
                        m.d.sync += target[32 * half : 32 * half + 32].eq(write_data)

        m.d.sync += self.o_read_data.eq(word)
        for entry in self._map.memories:
            name = entry.name.lower()
            bits = ceil_log2(entry.words)
            if entry.words != 1 << bits or entry.address % entry.words:
                raise ValueError(f"registers: memory {entry.name} must be a power of 2 long and aligned to its length")
            port = getattr(self, f"o_{name}_address")
            if entry.access is Access.RW:
                m.d.sync += [
                    port.eq(address),
                    getattr(self, f"o_{name}_write").eq(written & (address[bits:] == entry.address >> bits)),
                ]
                m.d.comb += getattr(self, f"o_{name}_data").eq(write_data)
            else:
                # Block RAM is slow: its data gets a register of its own.
                entry_word = Signal(entry.width, name=f"{name}_word")
                chosen = Signal(name=f"{name}_chosen")
                m.d.comb += port.eq(self.i_address[:bits])
                m.d.sync += [
                    entry_word.eq(getattr(self, f"i_{name}_data")),
                    chosen.eq(address[bits:] == entry.address >> bits),
                ]
                with m.If(chosen):
                    m.d.sync += self.o_read_data.eq(entry_word)
        return m

    def _value(self, register: Register):
        if register.name in self._constants:
            return Signal(register.width, init=self._constants[register.name], name=register.name.lower())
        prefix = "o" if register.access is Access.RW else "i"
        return getattr(self, f"{prefix}_{register.name.lower()}").as_unsigned()


def _shape(register: Register):
    return signed(register.width) if register.signed else unsigned(register.width)
