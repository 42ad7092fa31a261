"""Packets to records: checks, order and numbering of whole batches, without a loop over records.

Every packet that goes in is accounted for exactly once: accepted (in order), damaged, duplicate, late, stray, or still
held behind a missing one. Nothing that arrives raises. Times are absolute in every packet, so a loss shifts nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import packets as wire
from twinphase_spec.packets import HEADER_DTYPE, HEADER_WORDS, RECORD_WORDS, Stream
from twinphase_spec.registers import RegisterMap
from twinphase_spec.units import TICKS_PER_CLOCK, TICKS_PER_SECOND

from .batch import TAG_DTYPE, Batch, Gap, record_dtype
from .herald_code import MOST_HERALDS, HeraldCodeError
from .herald_code import decode as decode_heralds
from .stream_state import SILENCE_TICKS, StreamOrder, StreamState

LEAP_TICKS = 10 * TICKS_PER_SECOND
"""A single time base further than this from all others is damage; two that agree are a new time."""
_T2_TIME_MASK = (1 << wire.T2_TIME_BITS) - 1


def pack(
    stream: int,
    sequence: int,
    payload: bytes = b"",
    *,
    base_ticks: int = 0,
    lost: int = 0,
    first_record: int = 0,
    flags: int = 0,
) -> bytes:
    """One packet with the header of `twinphase_spec.packets`; ``payload`` is whole 32-bit words."""
    header = np.zeros((), HEADER_DTYPE)
    header["stream"], header["version"], header["magic"] = stream, wire.VERSION, wire.MAGIC
    header["sequence"], header["words"], header["flags"] = sequence & 0xFFFFFFFF, len(payload) // 4, flags
    header["base_ticks"], header["lost"], header["first_record"] = base_ticks, lost, first_record & 0xFFFFFFFF
    return header.tobytes() + payload


def decode_t2(words: NDArray[np.uint32], periods: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """``(time_ticks, is_tag)`` of T2 words: ``periods`` holds for each word the periods of 2^25 ticks before it."""
    return (periods << wire.T2_TIME_BITS) | (words & _T2_TIME_MASK), words < wire.T2_SPECIAL


class Decoder:
    """Decodes the packets of one node. `streams` and `damage` hold what was wrong with them."""

    def __init__(self, node_map: RegisterMap) -> None:
        self.map = node_map
        self.streams: dict[Stream, StreamState] = {}
        self.damage: Counter[str] = Counter()
        """Damaged packets by what was wrong: length, header, content, time, numbering."""
        self.time_ticks: int | None = None
        """Newest time base."""
        self._record_words = dict(RECORD_WORDS) | {Stream.STATUS: node_map.status_words}
        self._words_of_stream = np.zeros(256, np.int64)
        for stream, words in self._record_words.items():
            self._words_of_stream[stream] = words
        self._orders: dict[Stream, StreamOrder] = {}
        self._held: list[bytes] = []
        self._suspect_ticks: int | None = None

    @property
    def damaged(self) -> int:
        """Damaged packets in all."""
        return self.damage.total()

    @property
    def held(self) -> int:
        """Packets that wait for a missing one."""
        return len(self._held)

    def finish(self) -> Batch:
        """Give up all missing packets and return what waited for them."""
        return self.decode([], final=True)

    def decode(self, packets: Sequence[bytes], now_s: float | None = None, final: bool = False) -> Batch:
        """Records of ``packets`` (in order of arrival) that are complete by now. ``now_s``: monotonic time."""
        batch = Batch(time_ticks=self.time_ticks)
        now_s = time.monotonic() if now_s is None else now_s
        candidates = [*self._held, *packets]
        self._held = []
        sound = [p for p in candidates if 4 * HEADER_WORDS <= len(p) <= wire.MAX_PACKET_BYTES and not len(p) & 3]
        self.damage["length"] += len(candidates) - len(sound)
        if not sound:
            return batch
        words = np.frombuffer(b"".join(sound), "<u4")
        lengths = np.fromiter(map(len, sound), np.int64, len(sound)) >> 2
        starts = np.cumsum(lengths) - lengths
        header = words[starts[:, None] + np.arange(HEADER_WORDS)].view(HEADER_DTYPE)[:, 0]
        tags = _TagWords(words)
        heralds: dict[int, NDArray[Any]] = {}
        good = self._check(header, lengths, starts, tags, heralds)
        base = header["base_ticks"].view(np.int64)
        good[good] = self._check_time(base[good])
        for number in np.unique(header["stream"][good]).tolist():
            chosen = np.flatnonzero(good & (header["stream"] == number))
            stream = Stream(number)
            order = self._order_of(stream)
            accepted, skipped, held = order.order(header["sequence"][chosen], now_s, final)
            self._held += [sound[i] for i in chosen[held]]
            if len(accepted):
                self._take(batch, stream, order, header, starts, chosen[accepted], skipped, words, tags, heralds)
        batch.time_ticks = self.time_ticks
        return batch

    def _order_of(self, stream: Stream) -> StreamOrder:
        if stream not in self._orders:
            self.streams[stream] = StreamState()
            most = wire.MAX_PAYLOAD_WORDS // self._record_words[stream]
            if stream is Stream.HERALD_CODE:
                most = MOST_HERALDS
            self._orders[stream] = StreamOrder(self.streams[stream], most)
        return self._orders[stream]

    def _check(
        self,
        header: NDArray[Any],
        lengths: NDArray[np.int64],
        starts: NDArray[np.int64],
        tags: _TagWords,
        heralds: dict[int, NDArray[Any]],
    ) -> NDArray[np.bool_]:
        """Which packets are sound. ``heralds`` gets those of each HERALD_CODE packet, by the place of its payload."""
        record_words = self._words_of_stream[header["stream"]]
        payload = lengths - HEADER_WORDS
        good = (header["magic"] == wire.MAGIC) & (header["version"] == wire.VERSION) & (record_words > 0)
        self.damage["header"] += int(np.count_nonzero(~good))
        fits = (header["words"] == payload) & (payload % np.maximum(record_words, 1) == 0)
        self.damage["length"] += int(np.count_nonzero(good & ~fits))
        good &= fits
        is_tag = header["stream"] == Stream.TAG
        unit = np.where(is_tag, 1 << wire.T2_TIME_BITS, TICKS_PER_CLOCK).astype(np.uint64)
        sane = header["base_ticks"] % unit == 0
        if is_tag.any():
            sane &= ~(is_tag & (tags.unknown_in(starts + HEADER_WORDS, starts + lengths) > 0))
        for i in np.flatnonzero(good & sane & (header["stream"] == Stream.HERALD_CODE)).tolist():
            begin, stop = int(starts[i]) + HEADER_WORDS, int(starts[i] + lengths[i])
            try:
                heralds[begin] = decode_heralds(
                    tags.words[begin:stop], int(header["first_record"][i]), int(header["flags"][i])
                )
            except HeraldCodeError:
                sane[i] = False
        self.damage["content"] += int(np.count_nonzero(good & ~sane))
        return good & sane

    def _check_time(self, base: NDArray[np.int64]) -> NDArray[np.bool_]:
        """False where a time base is alone with its opinion (see LEAP_TICKS)."""
        good = np.ones(len(base), bool)
        if not len(base):
            return good
        now = int(base[0]) if self.time_ticks is None else self.time_ticks
        if base.min() >= now - LEAP_TICKS and base.max() <= now + LEAP_TICKS:
            self.time_ticks, self._suspect_ticks = max(now, int(base.max())), None
            return good
        for i, ticks in enumerate(base.tolist()):
            if abs(ticks - now) <= LEAP_TICKS:
                now, self._suspect_ticks = max(now, ticks), None
            elif self._suspect_ticks is not None and abs(ticks - self._suspect_ticks) <= LEAP_TICKS:
                now, self._suspect_ticks = ticks, None
            else:
                good[i], self._suspect_ticks = False, ticks
        self.time_ticks = now
        self.damage["time"] += int(np.count_nonzero(~good))
        return good

    def _take(
        self,
        batch: Batch,
        stream: Stream,
        order: StreamOrder,
        header: NDArray[Any],
        starts: NDArray[np.int64],
        chosen: NDArray[np.intp],
        skipped: NDArray[np.int64],
        words: NDArray[np.uint32],
        tags: _TagWords,
        heralds: dict[int, NDArray[Any]],
    ) -> None:
        """Number the accepted packets ``chosen`` of one stream and put their records into the batch."""
        header, begin = header[chosen], starts[chosen] + HEADER_WORDS
        length = header["words"].astype(np.int64)
        if stream is Stream.TAG:
            count = tags.tags_in(begin, begin + length)
        elif stream is Stream.HERALD_CODE:
            count = header["flags"].astype(np.int64)
        else:
            count = length // self._record_words[stream]
        good, missing, lost = order.number(header, count, skipped)
        self.damage["numbering"] += int(np.count_nonzero(~good))
        if not good.any():
            return
        header, begin, length, count = header[good], begin[good], length[good], count[good]
        missing, lost, skipped = missing[good], lost[good], skipped[good]
        base = header["base_ticks"].view(np.int64)
        self._note_silence(order.state, base, skipped)
        places = np.cumsum(count) - count
        gaps = [
            Gap(
                index=int(places[i]),
                records=int(missing[i] + lost[i]),
                packets=int(skipped[i]),
                time_ticks=int(base[i]),
            )
            for i in np.flatnonzero((missing > 0) | (lost > 0) | (skipped > 0))
        ]
        if gaps:
            batch.gaps[stream] = gaps
        if not count.any():
            return
        at = _ragged(begin, length)
        if stream is Stream.TAG:
            batch.records[stream] = tags.decode(at, begin, length, base)
            return
        if stream is Stream.HERALD_CODE:
            batch.records[stream] = np.concatenate([heralds[place] for place in begin.tolist()])
        else:
            batch.records[stream] = words[at].view(record_dtype(stream, self.map))
        batch.packet_ticks[stream] = np.repeat(base, count)

    @staticmethod
    def _note_silence(state: StreamState, base: NDArray[np.int64], skipped: NDArray[np.int64]) -> None:
        before = base[0] if state.last_ticks is None else state.last_ticks
        pause = np.diff(base, prepend=before)
        state.silences += int(np.count_nonzero((pause > SILENCE_TICKS) & (skipped == 0)))
        state.last_ticks = int(base[-1])


class _TagWords:
    """Running counts over the words of a batch, read as T2 words; only the TAG packets' share is ever looked at."""

    def __init__(self, words: NDArray[np.uint32]) -> None:
        self.words = words
        kind = words >> wire.T2_CHANNEL_SHIFT  # special bit and channel
        self.special = kind >= 64
        self.overflow = kind == 64 + wire.T2_OVERFLOW_CHANNEL
        self._tags = _running(~self.special)
        self._unknown = _running(self.special & ~self.overflow)

    def tags_in(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._tags[end] - self._tags[begin]

    def unknown_in(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._unknown[end] - self._unknown[begin]

    def decode(
        self, at: NDArray[np.int64], begin: NDArray[np.int64], length: NDArray[np.int64], base: NDArray[np.int64]
    ) -> NDArray[Any]:
        """Tags of the words at ``at``: packets of ``length`` words each, with time base ``base``."""
        words = self.words[at]
        steps = np.where(self.overflow[at], words & _T2_TIME_MASK, 0).astype(np.int64)
        total = np.cumsum(steps)
        first = np.cumsum(length) - length
        before = np.where(first > 0, total[np.minimum(first, len(total)) - 1], 0)
        periods = total + np.repeat((base >> wire.T2_TIME_BITS) - before, length)
        ticks, is_tag = decode_t2(words, periods)
        tags = np.empty(np.count_nonzero(is_tag), TAG_DTYPE)
        tags["time_ticks"] = ticks[is_tag]
        tags["channel"] = (words[is_tag] >> wire.T2_CHANNEL_SHIFT) & 63
        return tags


def _running(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of set flags before each position, and in all."""
    return np.concatenate(([0], np.cumsum(flags)))


def _ragged(begin: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices ``begin[i] .. begin[i] + length[i] - 1`` of all i, one after the other."""
    before = np.cumsum(length) - length
    return np.arange(int(length.sum())) + np.repeat(begin - before, length)


def total_losses(streams: Mapping[Stream, StreamState]) -> int:
    """Records lost in all streams, in the node and on the way."""
    return sum(state.lost_records + state.node_lost_records for state in streams.values())
