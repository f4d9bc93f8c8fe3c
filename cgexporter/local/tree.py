"""``--once --format tree``: containers where they lie in the cgroup tree, with all above them."""

from collections.abc import Mapping
from types import MappingProxyType

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from cgexporter.correlate.facts import Key
from cgexporter.correlate.view import View
from cgexporter.local.columns import Row, pod_of, rows_of
from cgexporter.local.rates import Rates
from cgexporter.local.table import notes, rendered
from cgexporter.local.text import duration, plain, printable, share, shortened, size
from cgexporter.model import Cgroup


def limits(cgroup: Cgroup, rates: Rates | None = None) -> str:
    """What a cgroup uses of what it may, in one line."""
    parts = []
    if (cpu := cgroup.cpu) is not None:
        used = duration(cpu.usage_seconds) if rates is None else plain(rates.cpu_cores, 2)
        parts.append(f"cpu {used} of {plain(cpu.limit_cores, 2)}")
        throttled = share(cpu.throttled_periods, cpu.periods)
        if throttled not in ("-", "0%"):
            parts.append(f"throttled {throttled}")
    if (memory := cgroup.memory) is not None:
        parts.append(f"memory {size(memory.working_set_bytes)} of {size(memory.max_bytes)}")
    if (pids := cgroup.pids) is not None:
        parts.append(f"tasks {plain(pids.current)} of {plain(pids.max)}")
    return ", ".join(parts)


def tree(
    view: View,
    missing: Mapping[str, str] = MappingProxyType({}),
    rates: Mapping[Key, Rates] | None = None,
    sort: str | None = None,
) -> str:
    """The tree and the table's notes; arguments as for `table.table`."""

    def print_to(console: Console, terminal: bool) -> None:
        if not view.containers:
            console.print(f"No containers on this host ({view.snapshot.mode.value} cgroups).")
        else:
            widest = max(20, console.width // 3) if terminal else None
            console.print(_tree(view, rows_of(view, rates, sort), widest))
        for line in notes(view, missing):
            console.print(Text(printable(line), style="dim"))

    return rendered(print_to)


def _tree(view: View, rows: list[Row], widest: int | None) -> Tree:
    """Build it; names are cut to `widest` columns, so that the numbers behind them are seen."""
    cgroups = view.snapshot.cgroups
    limited = {pod.cgroup.path: pod.cgroup for pod in view.pods}
    branches: dict[str, Tree] = {}

    def label(name: str, style: str, said: str, said_style: str) -> Text:
        shown = printable(name)
        text = Text(shown if widest is None else shortened(shown, widest), style, no_wrap=True)
        text.overflow = "crop"
        return text.append(f"  {said}", said_style) if said else text

    def branch(path: str) -> Tree:
        if path not in branches:
            cgroup = limited.get(path) or cgroups.get(path)
            name = path.rpartition("/")[2] or "/"
            text = label(name, "bold", limits(cgroup) if cgroup else "", "not bold dim")
            if path == "/":
                branches[path] = Tree(text)
            else:
                branches[path] = branch(path.rpartition("/")[0] or "/").add(text)
        return branches[path]

    for row in rows:
        container = row.container
        pod = pod_of(container)
        name = container.title if pod is None else f"{container.title} ({pod})"
        text = label(name, "green", limits(container.cgroup, row.rates), "default")
        branch(container.cgroup.path.rpartition("/")[0] or "/").add(text)
    return branch("/")
