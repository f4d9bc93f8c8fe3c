"""Pages put together of what was compressed before are what any reader of gzip takes for them."""

import gzip
import importlib
import random
import sys
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cgexporter.web.gzip
from cgexporter.web.gzip import Gzip


@pytest.fixture(params=["isal", "zlib"], autouse=True, scope="module")
def library(request: pytest.FixtureRequest) -> Iterator[None]:
    """What compresses here, and on a processor that it is not built for."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "zlib":
            patch.setitem(sys.modules, "isal", None)
        importlib.reload(cgexporter.web.gzip)
        assert request.param in vars(cgexporter.web.gzip)["zlib"].__name__
        patch.setattr(f"{__name__}.Gzip", cgexporter.web.gzip.Gzip)
        yield
    importlib.reload(cgexporter.web.gzip)


def lines(seed: int, count: int) -> bytes:
    """Lines as a page has them, always the same ones for a seed."""
    numbers = random.Random(seed)
    return b"".join(b'x{id="%d"} %d\n' % (n, numbers.getrandbits(40)) for n in range(count))


def unpacked(data: bytes) -> bytes:
    """What is in one gzip member, with nothing behind it."""
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    content = reader.decompress(data)
    assert reader.eof
    assert not reader.unused_data
    return content


# Small parts, those that are kept, and one that is larger than the window.
PARTS = [b"", b"# HELP x\n", *(lines(n, 10 ** (n % 3 + 2)) for n in range(9))]


@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=8), min_size=1, max_size=6))
def test_any_pages(pages: list[list[bytes]]) -> None:
    """Whatever comes again, in whatever order: each page is whole."""
    packer = Gzip()
    for parts in pages:
        assert unpacked(packer.compress(parts)) == b"".join(parts)


@given(st.lists(st.binary(), max_size=4))
def test_any_bytes(parts: list[bytes]) -> None:
    """A compressed page is one gzip member of whatever bytes."""
    assert unpacked(Gzip().compress(parts)) == b"".join(parts)


def test_equal_parts_that_come_and_go() -> None:
    """A part is known by what it is, not by where in memory it was: memory is used again."""
    packer = Gzip()
    for number in range(50):
        parts = [bytearray(lines(number % 7, 2000)) for _ in range(3)]
        page = [bytes(part) for part in parts]
        assert gzip.decompress(packer.compress(page)) == b"".join(page)


def test_what_comes_again_is_not_compressed_again() -> None:
    """A part that stays costs its checksum only; the page is the same."""
    packer = Gzip()
    page = [b"# HELP x\n", lines(1, 5000), b"# HELP y\n", lines(2, 5000)]
    first = packer.compress(page)
    kept = [packed for _, packed in packer._known.values()]
    assert packer.compress(page) == first
    assert len(kept) == 2
    assert all(
        packed is before for (_, packed), before in zip(packer._known.values(), kept, strict=True)
    )


def test_nothing_is_kept_of_parts_that_are_gone() -> None:
    """What a page no longer has leaves memory."""
    packer = Gzip()
    for number in range(3):
        packer.compress([lines(number, 5000)])
        assert len(packer._known) == 1
