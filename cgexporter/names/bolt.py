"""Keys of a bolt database (bbolt) while its owner writes it, without its lock and without a map.

A transaction writes to free pages and then one of two meta pages, which names the new root. The
pages of the one before are given away no earlier than by the one after next. So what was read by
way of the newest meta page is whole where that one is still the newest afterwards.

Only pages on the way to what is asked for are read. Values of others lie in their buffers too,
such as the environment of containers: all are zeroed in the end. Source: bbolt, internal/common:
page.go, meta.go, bucket.go.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from cgexporter.parse.formats import ParseError

T = TypeVar("T")
# Reads at most so many bytes at an offset of the file.
Read = Callable[[int, int], bytearray]

_MAGIC, _VERSION = 0xED0CDAED, 2
_BRANCH, _LEAF, _META = 0x01, 0x02, 0x04
_IS_BUCKET = 1
# Numbers are in the byte order of the machine that wrote them: this one.
_PAGE = struct.Struct("=QHHI")  # its number, flags, count of elements, pages that it runs over to
_META_PAGE = struct.Struct("=IIII QQ QQQ Q")
_BRANCH_ELEMENT = struct.Struct("=IIQ")  # position from here, size of the key, page
_LEAF_ELEMENT = struct.Struct("=IIII")  # flags, position, size of the key, size of the value
_BUCKET = struct.Struct("=QQ")  # root page, or 0 for one that lies in the value, and a sequence
_PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))
_MAX_PAGE_BYTES = 8 << 20
_MAX_BYTES = 64 << 20  # looked at in one visit; a page that is looked at twice counts twice
_MAX_DEPTH = 32
_TRIES = 8


class _Meta(NamedTuple):
    page_size: int
    root: int
    pages: int  # all page numbers are below
    transaction: int


def look(read: Read, visit: Callable[["Bucket"], T]) -> T:
    """Show the root bucket of one transaction to `visit`, anew where others overtook it.

    Args:
        read: reads the file.
        visit: must not keep a bucket or value; what it returns must be copies.

    Raises:
        ParseError: it is not a bolt database, it is damaged, or it changes all the time.
    """
    for _ in range(_TRIES):
        meta = _newest(read)
        pages = _Pages(read, meta)
        problem: ParseError | None = None
        try:
            result = visit(Bucket(pages, meta.root))
        except ParseError as exc:
            problem = exc
        finally:
            pages.wipe()
        if _newest(read).transaction == meta.transaction:
            if problem is not None:
                raise problem
            return result
    raise ParseError("bolt: written faster than it can be read")


def _newest(read: Read) -> _Meta:
    metas = []
    first = read(0, _PAGE.size + _META_PAGE.size)
    if meta := _meta(first):
        metas.append(meta)
    # Where the first is torn, its page size is not known.
    for size in (meta.page_size,) if meta else _PAGE_SIZES:
        second = _meta(read(size, _PAGE.size + _META_PAGE.size))
        if second is not None and second.page_size == size:
            metas.append(second)
            break
    if not metas:
        raise ParseError("bolt: no valid meta page")
    return max(metas, key=lambda each: each.transaction)


def _meta(page: bytearray) -> _Meta | None:
    if len(page) < _PAGE.size + _META_PAGE.size or not _PAGE.unpack_from(page)[1] & _META:
        return None
    content = page[_PAGE.size :]
    magic, version, size, _, root, _, _, pages, transaction, checksum = _META_PAGE.unpack(content)
    valid = (magic, version, checksum) == (_MAGIC, _VERSION, fnv(content[:-8]))
    return _Meta(size, root, pages, transaction) if valid and size in _PAGE_SIZES else None


def fnv(data: bytes | bytearray) -> int:
    """FNV-1a of 64 bits, with which meta pages are checked."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFF_FFFF_FFFF_FFFF
    return value


class _Page(NamedTuple):
    """A page, or what stands for one in the value of an inline bucket."""

    data: bytearray
    start: int
    end: int
    flags: int
    elements: int


class _Pages:
    """The pages of one transaction that were read."""

    def __init__(self, read: Read, meta: _Meta) -> None:
        self._read = read
        self._meta = meta
        self._known: dict[int, bytearray] = {}
        self._left = _MAX_BYTES

    def page(self, number: int) -> _Page:
        """Read a page with those it runs over to."""
        data = self._known.get(number)
        if data is None:
            data = self._known[number] = self._load(number)
        self._left -= len(data)
        if self._left < 0:
            raise ParseError(f"bolt: more than {_MAX_BYTES} bytes to look at")
        return _page(data, 0, len(data))

    def wipe(self) -> None:
        """Zero all that was read."""
        for data in self._known.values():
            data[:] = bytes(len(data))

    def _load(self, number: int) -> bytearray:
        size = self._meta.page_size
        if not 2 <= number < self._meta.pages:
            raise ParseError(f"bolt: there is no page {number}")
        header = self._read(number * size, _PAGE.size)
        if len(header) < _PAGE.size:
            raise ParseError(f"bolt: page {number} is cut off")
        itself, _, _, more = _PAGE.unpack_from(header)
        whole = (more + 1) * size
        if itself != number or whole > _MAX_PAGE_BYTES:
            raise ParseError(f"bolt: page {number} is damaged or larger than {_MAX_PAGE_BYTES}")
        data = self._read(number * size, whole)
        if len(data) != whole:
            data[:] = bytes(len(data))
            raise ParseError(f"bolt: page {number} is cut off")
        return data


def _page(data: bytearray, start: int, end: int) -> _Page:
    if end - start < _PAGE.size:
        raise ParseError("bolt: a page is cut off")
    _, flags, count, _ = _PAGE.unpack_from(data, start)
    element = _BRANCH_ELEMENT if flags & _BRANCH else _LEAF_ELEMENT
    if flags not in (_BRANCH, _LEAF) or start + _PAGE.size + count * element.size > end:
        raise ParseError("bolt: a page is damaged")
    return _Page(data, start, end, flags, count)


class _Entry(NamedTuple):
    """A key and its value, by their places in a page."""

    data: bytearray
    is_bucket: bool
    key: bytes
    start: int
    end: int


class Bucket:
    """Keys in order, each with a value or with another bucket."""

    def __init__(self, pages: _Pages, root: int, inline: _Page | None = None) -> None:
        self._pages = pages
        self._root = root
        self._inline = inline

    def bucket(self, key: bytes) -> "Bucket | None":
        """The bucket below a key; None where there is none."""
        entry = self._find(key)
        if entry is None or not entry.is_bucket:
            return None
        return self._below(entry)

    def value(self, key: bytes) -> bytearray | None:
        """A copy of a key's value, which the caller has to zero; None where there is none."""
        entry = self._find(key)
        if entry is None or entry.is_bucket:
            return None
        return entry.data[entry.start : entry.end]

    def text(self, key: bytes) -> str | None:
        """A key's value, if it is not empty."""
        value = self.value(key)
        return value.decode("utf-8", "surrogateescape") if value else None

    def buckets(self) -> Iterator[tuple[str, "Bucket"]]:
        """All buckets that are directly in it."""
        for entry in self._entries():
            if entry.is_bucket:
                yield entry.key.decode("utf-8", "surrogateescape"), self._below(entry)

    def texts(self, keys: frozenset[str]) -> dict[str, str]:
        """The values of some keys, of those that are there and not empty."""
        found = {}
        for entry in self._entries():
            key = entry.key.decode("utf-8", "surrogateescape")
            if key in keys and not entry.is_bucket and entry.end > entry.start:
                value = entry.data[entry.start : entry.end]
                found[key] = value.decode("utf-8", "surrogateescape")
        return found

    def _below(self, entry: _Entry) -> "Bucket":
        if entry.end - entry.start < _BUCKET.size:
            raise ParseError("bolt: a bucket is cut off")
        root, _ = _BUCKET.unpack_from(entry.data, entry.start)
        if root:
            return Bucket(self._pages, root)
        return Bucket(self._pages, 0, _page(entry.data, entry.start + _BUCKET.size, entry.end))

    def _find(self, key: bytes) -> _Entry | None:
        page = self._inline or self._pages.page(self._root)
        for _ in range(_MAX_DEPTH):
            if page.flags == _LEAF:
                return next((each for each in _leaf(page) if each.key == key), None)
            below = None
            for first, number in _branch(page):
                if first > key and below is not None:
                    break
                below = number
            if below is None:
                return None
            page = self._pages.page(below)
        raise ParseError("bolt: pages lie too deep")

    def _entries(self) -> Iterator[_Entry]:
        yield from self._walk(self._inline or self._pages.page(self._root), 0)

    def _walk(self, page: _Page, depth: int) -> Iterator[_Entry]:
        if depth == _MAX_DEPTH:
            raise ParseError("bolt: pages lie too deep")
        if page.flags == _LEAF:
            yield from _leaf(page)
            return
        for _, number in _branch(page):
            yield from self._walk(self._pages.page(number), depth + 1)


def _branch(page: _Page) -> Iterator[tuple[bytes, int]]:
    for index in range(page.elements):
        at = page.start + _PAGE.size + index * _BRANCH_ELEMENT.size
        position, size, number = _BRANCH_ELEMENT.unpack_from(page.data, at)
        if at + position + size > page.end:
            raise ParseError("bolt: a key lies outside of its page")
        yield bytes(page.data[at + position : at + position + size]), number


def _leaf(page: _Page) -> Iterator[_Entry]:
    for index in range(page.elements):
        at = page.start + _PAGE.size + index * _LEAF_ELEMENT.size
        flags, position, key_size, size = _LEAF_ELEMENT.unpack_from(page.data, at)
        start = at + position + key_size
        if start + size > page.end:
            raise ParseError("bolt: a value lies outside of its page")
        key = bytes(page.data[at + position : start])
        yield _Entry(page.data, bool(flags & _IS_BUCKET), key, start, start + size)
