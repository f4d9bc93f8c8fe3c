"""Numbers and names as people read them."""

import math
import unicodedata
from collections.abc import Iterable

ABSENT = "-"
UNLIMITED = "max"


def size(count: float | None) -> str:
    """Bytes with a binary unit: 1536 is 1.5Ki."""
    if count is None:
        return ABSENT
    if count == math.inf:
        return UNLIMITED
    for unit in ("", "Ki", "Mi", "Gi", "Ti", "Pi"):
        if count < 1024 or unit == "Pi":
            break
        count /= 1024
    return f"{count:.0f}{unit}" if not unit or count >= 100 else f"{count:.1f}{unit}"


def plain(value: float | None, digits: int = 0) -> str:
    """A number, `-` where absent, `max` where unlimited."""
    if value is None:
        return ABSENT
    return UNLIMITED if value == math.inf else f"{value:.{digits}f}"


def duration(seconds: float | None) -> str:
    """Seconds to two places below a minute, then minutes or hours."""
    if seconds is None:
        return ABSENT
    if round(seconds, 2) < 60:
        return f"{seconds:.2f}s"
    if round(seconds / 60, 1) < 60:
        return f"{seconds / 60:.1f}m"
    return f"{seconds / 3600:.1f}h"


def share(part: float | None, whole: float | None) -> str:
    """A part of a whole in percent; `-` without either, or of nothing."""
    if part is None or not whole:
        return ABSENT
    return f"{100 * part / whole:.0f}%"


def printable(text: str) -> str:
    """A name as it may be shown: control and undecodable characters become U+FFFD.

    Names come from containers; one of them may hold escape sequences for the terminal.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def columns_of(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def shortened(text: str, width: int) -> str:
    """A text cut to a width; `~` stands for what is left out."""
    if columns_of(text) <= width:
        return text
    while text and columns_of(text) > width - 1:
        text = text[:-1]
    return text + "~" if width > 0 else ""


def fitted(parts: Iterable[str], between: str, width: int) -> str:
    """As many parts as there is room for; the first is cut where even that is too long."""
    text = ""
    for part in parts:
        longer = f"{text}{between}{part}" if text else part
        if text and columns_of(longer) > width:
            break
        text = longer
    return shortened(text, width)


def padded(text: str, width: int, left: bool) -> str:
    """A text filled with blanks to a width."""
    blanks = " " * (width - columns_of(text))
    return text + blanks if left else blanks + text
