"""Pages of metrics, line by line."""


def normalised(page: str) -> list[tuple[str, float | None]]:
    """Lines of a page; numbers as numbers, for they may be spelt in several ways."""
    lines: list[tuple[str, float | None]] = []
    for line in page.split("\n")[:-1]:
        start, _, number = line.rpartition(" ")
        lines.append((line, None) if line.startswith("#") else (start, float(number)))
    return lines
