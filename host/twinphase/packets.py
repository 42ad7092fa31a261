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
from .packet_block import PacketBlock
from .stream_state import SILENCE_TICKS, StreamOrder, StreamState

LEAP_TICKS = 10 * TICKS_PER_SECOND
"""A single time base further than this from all others is damage; two that agree are a new time."""
LONG_RUN_WORDS = 32
"""Copying a run of words costs as much as indexing so many."""
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

    def decode(self, packets: Sequence[bytes] | PacketBlock, now_s: float | None = None, final: bool = False) -> Batch:
        """Records of ``packets`` (in order of arrival) that are complete by now. ``now_s``: monotonic time."""
        batch = Batch(time_ticks=self.time_ticks)
        now_s = time.monotonic() if now_s is None else now_s
        block = packets if isinstance(packets, PacketBlock) else PacketBlock.of(packets)
        if self._held:
            block, self._held = PacketBlock.join([PacketBlock.of(self._held), block]), []
        whole = (block.sizes >= 4 * HEADER_WORDS) & (block.sizes <= wire.MAX_PACKET_BYTES) & (block.sizes & 3 == 0)
        self.damage["length"] += len(block) - int(np.count_nonzero(whole))
        if not whole.any():
            return batch
        sound = block if whole.all() else block[whole]
        words, starts, lengths = sound.words, sound.starts, sound.sizes >> 2
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
            self._held += sound[chosen[held]].packets() if len(held) else []
            if len(accepted):
                self._take(batch, stream, order, header, starts, chosen[accepted], skipped, words, tags, heralds)
        batch.time_ticks = self.time_ticks
        return batch

    def _order_of(self, stream: Stream) -> StreamOrder:
        if stream not in self._orders:
            self.streams[stream] = StreamState()
            coded = stream is Stream.HERALD_CODE
            most = MOST_HERALDS if coded else wire.MAX_PAYLOAD_WORDS // self._record_words[stream]
            self._orders[stream] = StreamOrder(self.streams[stream], most, by_run=coded)
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
        if stream is Stream.TAG:
            batch.records[stream] = tags.decode(begin, length, base)
            return
        if stream is Stream.HERALD_CODE:
            batch.records[stream] = np.concatenate([heralds[place] for place in begin.tolist()])
        else:
            batch.records[stream] = _gather(words, begin, length).view(record_dtype(stream, self.map))
        batch.packet_ticks[stream] = np.repeat(base, count)

    @staticmethod
    def _note_silence(state: StreamState, base: NDArray[np.int64], skipped: NDArray[np.int64]) -> None:
        before = base[0] if state.last_ticks is None else state.last_ticks
        pause = np.diff(base, prepend=before)
        state.silences += int(np.count_nonzero((pause > SILENCE_TICKS) & (skipped == 0)))
        state.last_ticks = int(base[-1])


class _TagWords:
    """The words of a batch, read as T2 words; only the TAG packets' share is ever looked at.

    Special words are few beside tags, and they alone change the period: a packet is a run of tags, cut by its overflow words.
    """

    def __init__(self, words: NDArray[np.uint32]) -> None:
        self.words = words
        self._special = np.flatnonzero(words >= wire.T2_SPECIAL)
        unknown = words[self._special] < wire.T2_SPECIAL | wire.T2_OVERFLOW_CHANNEL << wire.T2_CHANNEL_SHIFT
        self._unknown = self._special[unknown]

    def tags_in(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        return end - begin - _count_in(self._special, begin, end)

    def unknown_in(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        return _count_in(self._unknown, begin, end)

    def decode(self, begin: NDArray[np.int64], length: NDArray[np.int64], base: NDArray[np.int64]) -> NDArray[Any]:
        """Tags of packets of ``length`` words from word ``begin`` on, none of them unknown, with time base ``base``."""
        end = begin + length
        first = np.searchsorted(self._special, begin)
        overflows = np.searchsorted(self._special, end) - first
        at = self._special[_ragged(first, overflows)]
        # Runs of tags: one from the packet's begin on, one behind each of its overflow words.
        behind = np.cumsum(overflows) - overflows + np.arange(len(begin))
        starts_packet = np.zeros(len(begin) + len(at), bool)
        starts_packet[behind] = True
        run_begin = np.empty(len(starts_packet), np.int64)
        run_begin[starts_packet], run_begin[~starts_packet] = begin, at + 1
        run_end = np.empty_like(run_begin)
        run_end[behind + overflows] = end
        ends_packet = np.zeros(len(starts_packet), bool)
        ends_packet[behind + overflows] = True
        run_end[~ends_packet] = at
        steps = np.zeros(len(starts_packet), np.int64)
        steps[~starts_packet] = self.words[at] & _T2_TIME_MASK
        total = np.cumsum(steps)
        periods = total + np.repeat((base >> wire.T2_TIME_BITS) - total[behind], overflows + 1)
        words = _gather(self.words, run_begin, run_end - run_begin)
        tags = np.empty(len(words), TAG_DTYPE)
        ticks = np.repeat(periods << wire.T2_TIME_BITS, run_end - run_begin)
        ticks |= words & _T2_TIME_MASK
        tags["time_ticks"] = ticks
        tags["channel"] = words >> wire.T2_CHANNEL_SHIFT
        return tags


def _count_in(places: NDArray[np.intp], begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the rising ``places`` lie in ``begin[i] <= place < end[i]``."""
    return np.searchsorted(places, end) - np.searchsorted(places, begin)


def _ragged(begin: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices ``begin[i] .. begin[i] + length[i] - 1`` of all i, one after the other."""
    before = np.cumsum(length) - length
    return np.arange(int(length.sum())) + np.repeat(begin - before, length)


def _gather(words: NDArray[np.uint32], begin: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.uint32]:
    """``words[begin[i] : begin[i] + length[i]]`` of all i, one after the other: long runs are copied, short ones indexed."""
    if len(begin) * LONG_RUN_WORDS >= int(length.sum()):
        return words[_ragged(begin, length)]
    return np.concatenate([words[at:end] for at, end in zip(begin.tolist(), (begin + length).tolist(), strict=True)])


def total_losses(streams: Mapping[Stream, StreamState]) -> int:
    """Records lost in all streams, in the node and on the way."""
    return sum(state.lost_records + state.node_lost_records for state in streams.values())
