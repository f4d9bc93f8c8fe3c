"""Writes bolt databases as bbolt does, small ones: for what no real runtime would leave."""

import struct
from collections.abc import Mapping
from typing import Union

from cgexporter.names.bolt import fnv

Tree = Mapping[str, Union[str, bytes, "Tree"]]

PAGE = 4096
_MAGIC = 0xED0CDAED


class _Writer:
    def __init__(self, inline: int) -> None:
        self.pages: dict[int, bytes] = {}
        self.next = 4
        self._inline = inline

    def add(self, body: bytes, flags: int, count: int) -> int:
        number, overflow = self.next, (16 + len(body)) // PAGE
        self.next += 1 + overflow
        page = struct.pack("=QHHI", number, flags, count, overflow) + body
        self.pages[number] = page.ljust(PAGE * (1 + overflow), b"\0")
        return number

    def bucket(self, tree: Tree) -> bytes:
        """A bucket's value: with its page in it where that is small."""
        entries = []
        for key, value in sorted((key.encode(), value) for key, value in tree.items()):
            if isinstance(value, Mapping):
                entries.append((1, key, self.bucket(value)))
            else:
                entries.append((0, key, value.encode() if isinstance(value, str) else value))
        body = _leaf(entries)
        if len(body) < self._inline:
            return struct.pack("=QQQHHI", 0, 0, 0, 2, len(entries), 0) + body
        return struct.pack("=QQ", self.root(entries), 0)

    def root(self, entries: list[tuple[int, bytes, bytes]]) -> int:
        """Pages of a bucket: a few keys on each, and branches above them."""
        level = []
        for start in range(0, max(len(entries), 1), 5):
            some = entries[start : start + 5]
            level.append((some[0][1] if some else b"", self.add(_leaf(some), 2, len(some))))
        while len(level) > 1:
            above = []
            for start in range(0, len(level), 5):
                some_ = level[start : start + 5]
                above.append((some_[0][0], self.add(_branch(some_), 1, len(some_))))
            level = above
        return level[0][1]


def _leaf(entries: list[tuple[int, bytes, bytes]]) -> bytes:
    heads, data = b"", b""
    for index, (flags, key, value) in enumerate(entries):
        position = 16 * (len(entries) - index) + len(data)
        heads += struct.pack("=IIII", flags, position, len(key), len(value))
        data += key + value
    return heads + data


def _branch(children: list[tuple[bytes, int]]) -> bytes:
    heads, data = b"", b""
    for index, (key, number) in enumerate(children):
        heads += struct.pack("=IIQ", 16 * (len(children) - index) + len(data), len(key), number)
        data += key
    return heads + data


def meta(number: int, root: int, pages: int, transaction: int) -> bytes:
    """One of the two meta pages."""
    body = struct.pack("=IIIIQQQQQ", _MAGIC, 2, PAGE, 0, root, 0, 2, pages, transaction)
    page = struct.pack("=QHHI", number, 4, 0, 0) + body + struct.pack("=Q", fnv(body))
    return page.ljust(PAGE, b"\0")


def database(tree: Tree, transaction: int = 7, inline: int = 1000) -> bytes:
    """A whole file; buckets larger than `inline` bytes have pages of their own."""
    writer = _Writer(inline)
    entries = []
    for key, below in sorted((key.encode(), below) for key, below in tree.items()):
        assert isinstance(below, Mapping)
        entries.append((1, key, writer.bucket(below)))
    root = writer.root(entries)
    old = meta(0, root, writer.next, transaction - 1)
    new = meta(1, root, writer.next, transaction)
    content = bytearray(old + new).ljust(writer.next * PAGE, b"\0")
    for number, page in writer.pages.items():
        content[number * PAGE : number * PAGE + len(page)] = page
    return bytes(content)
