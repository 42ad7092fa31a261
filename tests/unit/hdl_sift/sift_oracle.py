"""What the client's sifting has to do, stated once more in plain Python, straight from the spec's text."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from digest_oracle import Pair, halves
from twinphase_spec import sns
from twinphase_spec.sns import Kind
from twinphase_spec.symbols import Intensity, SymbolConfig

MASK = 0xFFFFFFFF
SETTINGS = SymbolConfig(
    key=(0x12345678, 0x9ABCDEF0, 0x0F1E2D3C, 0xDEADBEEF),
    nonce=0x0123_4567_89AB_CDEF,
    sent_below=600,
    z_below=1900,
    vacuum_below=2400,
    mu1_below=3600,
)
PAIR = Pair(key=(0x0F0E0D0C, 0x0B0A0908, 7, 0xFFFFFFFF), nonce=(0xFEDCBA98, 0x76543210))


@dataclass(frozen=True)
class Window:
    """Decoded symbol."""

    x: int
    send: int
    intensity: int
    slice: int
    phase: int


def symbol(config: SymbolConfig, n: int) -> Window:
    counter = config.nonce.to_bytes(8, "big") + (n // 8).to_bytes(8, "big")
    key = b"".join(word.to_bytes(4, "big") for word in config.key)
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(counter)
    u, phase = divmod(block[n % 8 * 2] * 256 + block[n % 8 * 2 + 1], 16)
    if u < config.sent_below:
        return Window(0, 1, int(Intensity.MU_Z), phase, 16 * phase)
    if u < config.z_below:
        return Window(0, 0, int(Intensity.VAC), phase, 16 * phase)
    level = 0 if u < config.vacuum_below else 1 if u < config.mu1_below else 2
    return Window(1, 0, level, phase, 16 * phase)


@dataclass
class Party:
    """One client: what it knows of a block, herald by herald. ``None`` stands for a missing herald."""

    role: int
    config: SymbolConfig
    heralds: list[tuple[int, int] | None]
    """(pulse, detector)"""
    psis: list[tuple[int, int] | None]
    """(psi, flags)"""
    windows: list[Window | None] = field(init=False)

    def __post_init__(self) -> None:
        self.windows = [symbol(self.config, h[0]) if h else None for h in self.heralds]

    def digest(self) -> int:
        return PAIR.digest(self.heralds, self.psis)

    def tag(self, block: int) -> tuple[int, int]:
        """Values of DIGEST_LOW and DIGEST_HIGH of block ``block``."""
        return halves(self.digest() ^ PAIR.pads(block)[self.role])

    def is_x(self, i: int) -> bool:
        window = self.windows[i]
        return window is not None and window.x == 1


def equal_x(a: Party, b: Party, i: int) -> bool:
    return a.is_x(i) and b.is_x(i) and a.windows[i].intensity == b.windows[i].intensity != 0


def messages(own: Party, peer: Party, block: int, first: int) -> list[tuple[int, int, int]]:
    """PEER records of one block, in order."""
    low, high = own.tag(block)
    out = [(Kind.DIGEST_LOW, block, low), (Kind.DIGEST_HIGH, block, high)]
    if own.digest() == peer.digest():
        n = len(own.heralds)
        for g in range(0, n, 32):
            out.append((Kind.TYPES, first + g & MASK, sum(own.is_x(g + i) << i for i in range(32))))
        out.append((Kind.DONE, block, Kind.TYPES))
        out += [(Kind.INTENSITY, first + i & MASK, own.windows[i].intensity) for i in range(n) if own.is_x(i)]
        out.append((Kind.DONE, block, Kind.INTENSITY))
        out += [(Kind.SLICE, first + i & MASK, own.windows[i].slice) for i in range(n) if equal_x(own, peer, i)]
        out.append((Kind.DONE, block, Kind.SLICE))
    return [(int(k), n, int(v)) for k, n, v in out]


def sift(
    own: Party, peer: Party, first: int, slice_width: int
) -> tuple[list[tuple[int, int]], list[int], dict[str, int]]:
    """SIFTED records, cell indices and counter increments of an agreed block."""
    records, cells = [], []
    counts = {"sifted_z": 0, "sifted_x": 0, "kept_x": 0, "error_x": 0}
    for i, herald in enumerate(own.heralds):
        if herald is None:
            continue
        detector = herald[1]
        mine, theirs = own.windows[i], peer.windows[i]
        level = [w.intensity if w.x else 3 for w in ((mine, theirs) if own.role == 0 else (theirs, mine))]
        keep = error = 0
        if not mine.x and not theirs.x:
            records.append((first + i & MASK, mine.send if own.role == 0 else 1 - mine.send))
            counts["sifted_z"] += 1
        elif equal_x(own, peer, i):
            psi, flags = own.psis[i] or (0, 0)
            alice, bob = (mine, theirs) if own.role == 0 else (theirs, mine)
            shifted = ((alice.slice - bob.slice) * 4096 + psi + (slice_width >> 1)) % 65536
            branch = shifted >> 15
            keep = int(flags == 3 and shifted % 32768 <= slice_width)
            error = int(keep and detector != branch)
            records.append(
                (
                    first + i & MASK,
                    sns.SIFTED_X
                    | sns.SIFTED_KEEP * keep
                    | sns.SIFTED_ERROR * error
                    | sns.SIFTED_BRANCH * branch
                    | sns.SIFTED_DETECTOR * detector
                    | sns.SIFTED_PSI_VALID * int(flags == 3)
                    | mine.intensity << sns.SIFTED_INTENSITY_SHIFT
                    | mine.slice << sns.SIFTED_OWN_SLICE_SHIFT
                    | theirs.slice << sns.SIFTED_PEER_SLICE_SHIFT
                    | psi,
                )
            )
            counts["sifted_x"] += 1
            counts["kept_x"] += keep
            counts["error_x"] += error
        cells.append(sns.cell_index(level[0], level[1], detector, keep, error))
    return records, cells, counts
