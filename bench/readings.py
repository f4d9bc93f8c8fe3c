"""Named tuple against frozen dataclass: making one `Memory` section, as a ratio.

python3 bench/readings.py
"""

import statistics
import timeit
from dataclasses import make_dataclass

from cgexporter.model.memory import Memory

FIELDS = Memory._fields
Frozen = make_dataclass("Frozen", [(name, object) for name in FIELDS], frozen=True, slots=True)
VALUES = list(range(len(FIELDS)))


def seconds(make: object) -> float:
    """Seconds for 20,000 of them."""
    return timeit.timeit("make(*values)", globals={"make": make, "values": VALUES}, number=20_000)


def main() -> None:
    """Measure in pairs, so that noise hits both."""
    pairs = [(seconds(Frozen), seconds(Memory)) for _ in range(9)]
    ratio = statistics.median(frozen / named for frozen, named in pairs)
    print(f"{len(FIELDS)} fields: a frozen dataclass costs {ratio:.1f} times a named tuple")


if __name__ == "__main__":
    main()
