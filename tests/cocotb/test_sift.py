"""The sift room on one shelf: emitters of 8 lanes and 1 lane, two block sifters, all with their symbols, coder, decoder, live windows."""

from typing import Any

import pytest

from block_client import WRAP_BLOCK, WRAP_HERALD
from preset import Preset
from runner import Shelf, build, run
from sift_rigs import SMALL_LIVE, RecallingSifter, SymbolEmitter
from twinphase_hdl.sift import block, digest, exchange, intake, livelists, pads
from twinphase_hdl.sift.block import BlockSifter
from twinphase_hdl.sift.heraldcoder import HeraldCoder
from twinphase_hdl.sift.heralddecoder import HeraldDecoder
from twinphase_hdl.sift.live import LiveWindows


def wrapping() -> Preset:
    """A sifter whose numbers begin shortly before they wrap."""
    return Preset(
        BlockSifter(),
        {
            intake: {"following": WRAP_HERALD},
            exchange: {"block": WRAP_BLOCK},
            pads: {"number": WRAP_BLOCK},
            digest: {"boundaries": WRAP_BLOCK % 256},
            livelists: {"stored": WRAP_BLOCK % 512},
        },
        {
            block: {
                "HeraldIntake": {"o_next": WRAP_HERALD},
                "Exchange": {"o_first": WRAP_HERALD},
                "BlockDigest": {"o_blocks": WRAP_BLOCK % 512},
                "HeraldRing": {"o_blocks": WRAP_BLOCK % 512},
                "LiveLists": {"o_blocks": WRAP_BLOCK % 512},
            },
            digest: {"KeyedHash": {"o_blocks": WRAP_BLOCK % 512}},
        },
    )


def shelf() -> Shelf:
    """All components of the room. A block sifter costs a third of the build: Bob's is also the one whose numbers wrap."""
    return Shelf(
        {
            "emitter8": SymbolEmitter(lanes=8),
            "emitter1": SymbolEmitter(lanes=1),
            "alice": RecallingSifter(),
            "bob": RecallingSifter(wrapping()),
            "coder": HeraldCoder(),
            "decoder": HeraldDecoder(),
            "live": LiveWindows(),
            "small_live": LiveWindows(**SMALL_LIVE),
        }
    )


@pytest.fixture(scope="module")
def sift() -> Any:
    return build("sift", shelf())


@pytest.mark.parametrize(
    "bench",
    [
        "bench_emitter",
        "bench_corrections",
        "bench_block",
        "bench_digest",
        "bench_digest_live",
        "bench_herald_code",
        "bench_live",
    ],
)
def test_sift(sift: Any, bench: str) -> None:
    run(sift, "sift", bench)
