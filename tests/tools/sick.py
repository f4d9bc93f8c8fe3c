"""What sick containers do, and a healthy one: scripts for busybox's shell.

A guest of the laboratory counts twelve times slower, so that loops have as many rounds as is told.
"""

BUSY = "while :; do :; done"
# Eight wait, which fills most of a small limit; what is started beside them is refused by it.
FORKS = """
for n in 1 2 3 4 5 6 7 8; do sleep 1000000 & done
while :; do sh -c 'sleep 5 & sleep 5 & sleep 5 & sleep 5 &' 2>/dev/null; sleep 0.3; done
"""


def loops(count: int) -> str:
    """Some busy loops at once."""
    return f"{f'({BUSY}) & ' * count} sleep 1000000"


def healthy(rounds: int) -> str:
    """Works for a moment, twice a second."""
    return f"while :; do i=0; while [ $i -lt {rounds} ]; do i=$((i+1)); done; sleep 0.5; done"


def bursts(rounds: int, pause: float) -> str:
    """Four that need little CPU, but all at once."""
    work = f"i=0; while [ $i -lt {rounds} ]; do i=$((i+1)); done; sleep {pause:g}"
    return f"for n in 1 2 3 4; do (while :; do {work}; done) & done; sleep 1000000"


def filled(mebibytes: int, then: str = "sleep 1000000") -> str:
    """Fills its /dev/shm, which counts as its memory, and goes on."""
    return f"dd if=/dev/zero of=/dev/shm/full bs=1M count={mebibytes} 2>/dev/null; {then}"


def reads(file: str, block: str, flags: str = "") -> str:
    """Reads a file again and again."""
    return f"while :; do dd if={file} of=/dev/null bs={block} {flags} 2>/dev/null; done"


def writes(file: str, block: str, count: int, flags: str = "") -> str:
    """Writes a file again and again."""
    return (
        f"while :; do dd if=/dev/zero of={file} bs={block} count={count} {flags} 2>/dev/null; done"
    )
