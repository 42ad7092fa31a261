"""The smoother's contract in plain integers: all nodes of a run are kept, and a block is what docs/phase.md says."""

BLOCK, INTERVALS = 16, 2048


def wrap(value: int, bits: int = 32) -> int:
    """To ``bits`` bits, signed."""
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def sat(value: int, bits: int = 32) -> int:
    """Limited to ``bits`` bits, signed."""
    half = 1 << (bits - 1)
    return max(-half, min(half - 1, value))


class Channel:
    """A channel in a run: nodes come in, blocks go out."""

    def __init__(
        self, *, channel: int, epoch_bits: int, step: int, gains: tuple[int, int, int, int], later: int = 0
    ) -> None:
        self.channel, self.bits, self.grid, self.gains = channel, epoch_bits + step, 1 << step, gains
        self.later = later
        self.nodes: dict[int, tuple[int, int, bool]] = {}
        self.broke: set[int] = set()

    def linked(self, k: int) -> bool:
        """Node k to the one before."""
        both = all(self.nodes.get(j, (0, 0, False))[2] for j in (k - 1, k))
        return both and not any(e in self.broke for e in range((k - 1) * self.grid + 1, k * self.grid + 1))

    def add(self, epoch: int, phase: int, slope: int, locked: int, broke: int) -> tuple[list[dict], dict | None]:
        """Intervals and cover that the node of an epoch brings."""
        if broke:
            self.broke.add(epoch)
        if epoch % self.grid:
            return [], None
        last = epoch // self.grid
        self.nodes[last] = phase, sat((slope << self.bits) >> 12), bool(locked)
        first = last - self.later - 2 * BLOCK
        return ([], None) if first % BLOCK else self.block(first // BLOCK)

    def block(self, b: int) -> tuple[list[dict], dict]:
        last = BLOCK * (b + 2) + self.later
        f, s, _ = self.nodes[last]
        h11, h12, h21, h22 = self.gains
        intervals = []
        for k in range(last - 1, BLOCK * b - 1, -1):
            phase, step, _ = self.nodes.get(k, (0, 0, False))
            linked = self.linked(k + 1)
            smooth_f, smooth_s = phase, step
            if linked:
                e1, e2 = wrap(f - phase - step), sat(s - step)
                smooth_f = (phase + ((h11 * e1 + h12 * e2) >> 16)) % (1 << 32)
                smooth_s = sat(step + ((h21 * e1 + h22 * e2) >> 16))
            if k < BLOCK * (b + 1):
                intervals.append(
                    {
                        "channel": self.channel,
                        "index": k % INTERVALS,
                        "start": smooth_f,
                        "way": wrap(f - smooth_f),
                        "valid": int(linked),
                    }
                )
            f, s = smooth_f, smooth_s
        return intervals, {"channel": self.channel, "time": (BLOCK * (b + 1) << self.bits) % (1 << 26)}
