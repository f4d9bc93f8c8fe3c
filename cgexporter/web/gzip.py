"""Gzip pages of which much is what it was in the page before. Source: RFC 1951, RFC 1952."""

import struct
from collections.abc import Iterable

try:  # the same functions in a sixth of the time: docs/decisions/0002-dependencies.md
    from isal import isal_zlib as zlib
except ImportError:  # a processor that it is not built for
    import zlib  # type: ignore[no-redef]

# zlib's level 6 costs twice as much for a tenth of the size, isal's others are no smaller.
_LEVEL = 1
# No name, no time, made by the fastest level, on whatever system.
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
_TRAILER = struct.Struct("<II")
# A smaller one loses more by not being able to refer to what is before it.
_LEAST_KEPT_BYTES = 16_384


class Gzip:
    """Compresses pages; keeps the compressed form of parts that come again.

    A deflate stream may be put together of pieces that do not refer to one another and end at
    a whole byte, which is what Z_FULL_FLUSH is for. So a part that is the same object as in
    the last page need not be compressed again; only the checksum, which costs a twentieth, is
    of all bytes. Not for use by two threads at once.
    """

    def __init__(self) -> None:
        # By id() of the larger parts of the last page, which are kept here and so keep their id:
        # the part and its compressed form.
        self._known: dict[int, tuple[bytes, bytes]] = {}

    def compress(self, parts: Iterable[bytes]) -> bytes:
        """One gzip member of all parts, one after the other."""
        stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        known, self._known = self._known, {}
        pieces = [_HEADER]
        crc = size = 0
        pending = False  # something went into the stream since it was flushed
        for part in parts:
            crc = zlib.crc32(part, crc)
            size += len(part)
            if len(part) < _LEAST_KEPT_BYTES:
                pieces.append(stream.compress(part))
                pending = True
                continue
            if pending:
                pieces.append(stream.flush(zlib.Z_FULL_FLUSH))
                pending = False
            kept = known.get(id(part))
            if kept is None:
                kept = part, stream.compress(part) + stream.flush(zlib.Z_FULL_FLUSH)
            self._known[id(part)] = kept
            pieces.append(kept[1])
        pieces += (stream.flush(), _TRAILER.pack(crc, size & 0xFFFF_FFFF))
        return b"".join(pieces)
