"""docs/COMPARISON.md is printed from the tables that the tests of the laboratory compare by."""

from pathlib import Path

import pytest

from tests.contract.test_docs import compare
from tests.lab import beside
from tests.lab.test_kubelet import DIFFERENT, RESOURCE

_HEAD = """\
# Beside the engines' and the kubelet's own numbers

Printed from the tables that the tests in `tests/lab` compare by. There real engines run on
Debian 12 (Docker 20.10 and Podman 4.3 on cgroup v2, hybrid and v1; the kubelet 1.35 on v2), the
containers are frozen, so that nothing that the kernel counts moves, and every value must be
**equal**, not near.

## Docker and Podman
"""
_KUBELET = """
The kernel is who is right: all of these read the same files. What differs is what they make of
them, and when. `docker stats` and `podman stats` round and show rates; the tests ask for the
numbers behind, through Docker's API and Podman's `--format`.

## The kubelet

`/metrics/cadvisor`: every row of each family that `--metrics.names=cadvisor` serves, with all its
labels and its value. The kubelet looks each 10 to 15 s and says so in timestamps; we look when
asked. Of what is not a pod, and so not frozen, and of networks, whose neighbours send to frozen
pods too, counters lie between a page of ours before and one after. Not compared, for they differ on
purpose:

| Family | Why |
|---|---|
"""
_RESOURCE = """
`/metrics/resource`, which autoscalers and `kubectl top` read:

| Theirs | Ours, under the same `namespace`, `pod` and `container` |
|---|---|
"""
_NETWORK = """
`/stats/summary`: bytes received by each pod; the bridge's own chatter may add a few packets between
the two.

What the kubelet serves and we do not, and each row that differs, is in [CADVISOR.md](CADVISOR.md).
"""


def test_comparison_page(request: pytest.FixtureRequest, repository: Path) -> None:
    """docs/COMPARISON.md is what is compared."""
    lines = [_HEAD, *beside.page(), _KUBELET.rstrip("\n")]
    lines += [f"| `{name}` | {why} |" for name, why in DIFFERENT.items()]
    lines.append(_RESOURCE.rstrip("\n"))
    lines += [f"| `{theirs}` | `{ours}` |" for theirs, ours in RESOURCE.items()]
    lines.append(_NETWORK)
    compare(request, repository / "docs/COMPARISON.md", "\n".join(lines))
