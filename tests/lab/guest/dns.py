"""Names of Services, as a cluster's DNS has them: NAME ADDRESS, a line each in the file.

dns.py ADDRESS FILE
"""

import socket
import sys
from pathlib import Path

_A, _IN = 1, 1
_NO_SUCH_NAME = 3


def _question(query: bytes) -> tuple[str, int, bytes]:
    """Name and type that are asked for, and the bytes that ask. Source: RFC 1035, 4.1.2."""
    labels, place = [], 12
    while length := query[place]:
        labels.append(query[place + 1 : place + 1 + length].decode("ascii", "replace"))
        place += 1 + length
    kind = int.from_bytes(query[place + 1 : place + 3], "big")
    return ".".join(labels).lower(), kind, query[12 : place + 5]


def _answer(query: bytes, known: dict[str, str]) -> bytes:
    name, kind, question = _question(query)
    addresses = [known[name]] if kind == _A and name in known else []
    flags = 0x8580 | (0 if name in known else _NO_SUCH_NAME)
    counts = (flags, 1, len(addresses), 0, 0)
    head = query[:2] + b"".join(number.to_bytes(2, "big") for number in counts)
    # 0xc00c points back at the name of the question.
    record = b"\xc0\x0c" + _A.to_bytes(2, "big") + _IN.to_bytes(2, "big") + bytes(4) + b"\0\4"
    return head + question + b"".join(record + socket.inet_aton(each) for each in addresses)


def main() -> None:
    """Answer until killed."""
    address, file = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((address, 53))
        while True:
            query, asker = channel.recvfrom(512)
            lines = Path(file).read_text().splitlines()
            channel.sendto(_answer(query, dict(line.split() for line in lines)), asker)


if __name__ == "__main__":
    main()
