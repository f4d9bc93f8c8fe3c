"""How many descriptors this process may hold, and how many it does."""

import resource

# Kept free for sockets, logs and libraries.
_RESERVED = 256


class Descriptors:
    """How many files may stay open between scans (``--scan.max-open-files``).

    Attributes:
        closed: how many were given back so far; while it is the same, what was held is.
        held: how many are held.
        limit: how many may be.

    Args:
        wanted: so many, where there is room.
        room: how many descriptors RLIMIT_NOFILE leaves for these and others'.
    """

    __slots__ = ("_room", "_wanted", "closed", "held", "limit")

    def __init__(self, wanted: int, room: int | None = None) -> None:
        self._wanted = wanted
        self._room = wanted if room is None else room
        self.limit = min(wanted, self._room)
        self.held = self.closed = 0

    def leave(self, others: int) -> None:
        """Leave room for so many of others'; more may be held now than the new limit."""
        self.limit = max(0, min(self._wanted, self._room - others))

    def take(self) -> bool:
        """Claim one; False when the bound is reached."""
        if self.held >= self.limit:
            return False
        self.held += 1
        return True

    def give_back(self) -> None:
        """Return one that was claimed."""
        self.held -= 1
        self.closed += 1


def raise_limit(wanted: int, others: int = 0) -> int:
    """Raise RLIMIT_NOFILE as far as needed and allowed.

    Args:
        wanted: descriptors to hold.
        others: that something else may need, such as connections.

    Returns:
        How many descriptors may be held: `wanted`, or what the limit leaves.
    """
    reserved = others + _RESERVED
    need = wanted + reserved
    soft, hard = (_finite(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    if soft < need:
        for goal in (need, min(need, hard)):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (goal, max(goal, hard)))
            except (OSError, ValueError):  # more than CAP_SYS_RESOURCE or fs.nr_open allows
                continue
            soft = goal
            break
    return max(0, min(wanted, soft - reserved))


def _finite(limit: int) -> int:
    return (1 << 30) if limit == resource.RLIM_INFINITY else limit
