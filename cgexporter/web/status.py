"""What the web server has to say of itself."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class WebStatus:
    """Counts of one server; plain numbers, written by the event loop and read by any thread.

    Attributes:
        connections: open now.
        requests: answered, by status code.
        ended: connections that the server ended against the client's wish, by reason.
        reloaded: whether the last change of the web configuration could be used; None without
            a web configuration.
        reload_time: when a configuration was last taken, in seconds since the epoch.
    """

    connections: int = 0
    requests: Counter[int] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    reloaded: bool | None = None
    reload_time: float = 0.0
