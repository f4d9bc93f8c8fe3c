"""A real API server: declared resources, labels, changes, restarts, rights."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.cluster import Cluster, cluster, missing
from tests.tools.hosts import Host, hex_id
from tests.tools.programs import build
from tests.tools.served import Served, served

PODS = "/api/v1/namespaces/default/pods"
STRATEGIC = "application/strategic-merge-patch+json"
# The program may have to be built first.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with an account that may list and watch pods, and one that may not."""
    if programs := missing():
        reason = f"{', '.join(programs)} not installed (Debian packages etcd-server, openssl; go)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have it: {reason}")
        pytest.skip(reason)
    build("kube-apiserver")
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        for account in ("allowed", "refused"):
            (made.home / account).write_text(made.token(account))
        made.allow("allowed", "list", "watch")
        yield made


def make_pod(api: Cluster, name: str, node: str, host: Host | None = None) -> str:
    """Make a pod bound to a node, running as if by a kubelet; returns its container's path."""
    pod = api.request(
        "POST",
        PODS,
        {
            "metadata": {"name": name, "labels": {"app": name, "private": "x"}},
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "main",
                        "image": "example.invalid/app:1",
                        "env": [{"name": "PASSWORD", "value": "must-not-be-kept"}],
                        "resources": {
                            "requests": {"cpu": "100m", "memory": "64Mi"},
                            "limits": {"cpu": "1500m"},
                        },
                    }
                ],
            },
        },
    )
    status = {
        "name": "main",
        "containerID": f"containerd://{hex_id(name)}",
        "image": "example.invalid/app:1",
        "imageID": "",
        "ready": True,
        "restartCount": 2,
    }
    patch(api, f"{name}/status", {"status": {"phase": "Running", "containerStatuses": [status]}})
    uid = pod["metadata"]["uid"].replace("-", "_")
    path = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice"
    path += f"/cri-containerd-{hex_id(name)}.scope"
    if host is not None:
        host.cgroup(path)
    return path


def patch(api: Cluster, pod: str, change: dict[str, Any]) -> None:
    """Change a pod."""
    api.request("PATCH", f"{PODS}/{pod}", change, STRATEGIC)


def flags(api: Cluster, host: Host, account: str = "allowed") -> list[str | Path]:
    """To ask that API server, with a token."""
    return [
        *("--path.cgroupfs", host.cgroupfs, "--path.procfs", host.procfs),
        *("--identity.root", host.root, "--identity.api", api.url, "--identity.node", "n1"),
        *("--identity.token-file", api.home / account, "--identity.ca-file", api.ca_file),
        *("--identity.labels", "app"),
    ]


def line(page: str, metric: str, *parts: str) -> str:
    """The line of a metric that has all parts; "" where there is none."""
    found = (each for each in page.splitlines() if each.startswith(metric + "{"))
    return next((each for each in found if all(part in each for part in parts)), "")


def wait_label(server: Served, name: str, label: str) -> None:
    """Wait until a pod has a label."""
    parts = (f'pod="{name}"', f'label_app="{label}"')
    page = server.eventually(lambda page: bool(line(page, "cgexporter_pod_info", *parts)))
    assert line(page, "cgexporter_pod_info", *parts), server.log.read_text()


def test_pods_of_this_node(api: Cluster, tmp_path: Path) -> None:
    """Requests, limits, QoS class and labels of this node's pods, before and after they come.

    The values of their environment are nowhere, not even in memory.
    """
    host = Host(tmp_path)
    make_pod(api, "early", "n1", host)
    elsewhere = make_pod(api, "elsewhere", "n2", host)
    with served(tmp_path / "log", flags(api, host)) as server:
        wait_label(server, "early", "early")
        make_pod(api, "late", "n1", host)
        wait_label(server, "late", "late")
        page = server.eventually(lambda page: bool(line(page, "cgexporter_container_info", "late")))
        memory = Counter[bytes]()
        for piece in server.memory():
            for word in (b"example.invalid/app:1", b"must-not-be-kept"):
                memory[word] += piece.count(word)
    for name in ("early", "late"):
        info = line(page, "cgexporter_container_info", f'pod="{name}"')
        for part in ('container="main"', 'namespace="default"', 'restart_count="2"'):
            assert part in info
        assert 'image="example.invalid/app:1"' in info
        assert 'qos_class="Burstable"' in info
        declared = "cgexporter_container_declared"
        assert line(page, f"{declared}_cpu_request_cores", name).endswith(" 0.1")
        assert line(page, f"{declared}_cpu_limit_cores", name).endswith(" 1.5")
        assert line(page, f"{declared}_memory_request_bytes", name).endswith(" 67108864")
        assert not line(page, f"{declared}_memory_limit_bytes", name)
    assert "private" not in page
    assert "must-not-be-kept" not in page
    assert memory[b"example.invalid/app:1"]
    assert not memory[b"must-not-be-kept"]
    assert 'pod="elsewhere"' not in page
    assert hex_id("elsewhere")[:12] in elsewhere
    assert f'id="{hex_id("elsewhere")[:12]}"' in page


def test_changes_and_a_restart(api: Cluster, tmp_path: Path) -> None:
    """Changes are followed; while the server is away what is known stays."""
    host = Host(tmp_path)
    make_pod(api, "cart", "n1", host)
    with served(tmp_path / "log", flags(api, host)) as server:
        wait_label(server, "cart", "cart")
        patch(api, "cart", {"metadata": {"labels": {"app": "changed"}}})
        wait_label(server, "cart", "changed")
        api.stop()
        try:
            wait_label(server, "cart", "changed")
            page = server.eventually(lambda page: 'errors_total{source="api"} 0\n' not in page)
            assert 'identity_errors_total{source="api"} 0\n' not in page
        finally:
            api.start()
        patch(api, "cart", {"metadata": {"labels": {"app": "again"}}})
        wait_label(server, "cart", "again")
        api.request("DELETE", f"{PODS}/cart")
        page = server.eventually(lambda page: 'label_app="again"' not in page)
        assert 'label_app="again"' not in page


def test_a_new_token_is_used(api: Cluster, tmp_path: Path) -> None:
    """The token is read again for each connection."""
    host = Host(tmp_path)
    make_pod(api, "tokened", "n1", host)
    token = tmp_path / "token"
    token.write_text("not-a-token")
    words = flags(api, host)
    words[words.index("--identity.token-file") + 1] = token
    with served(tmp_path / "log", words) as server:
        page = server.eventually(lambda page: 'errors_total{source="api"} 0\n' not in page)
        assert 'pod="tokened"' not in page
        assert "the token is not accepted" in server.log.read_text()
        token.write_text((api.home / "allowed").read_text())
        wait_label(server, "tokened", "tokened")


@pytest.mark.parametrize(
    ("account", "ca", "problem"),
    [
        ("refused", None, "the token lacks the rights list and watch on pods"),
        ("allowed", "other.crt", "the certificate is not trusted"),
    ],
)
def test_refused(api: Cluster, tmp_path: Path, account: str, ca: str | None, problem: str) -> None:
    """Without the right, or from another server, nothing is told, and why is said once."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    host = Host(tmp_path)
    path = make_pod(api, f"closed-{account}", "n1", host)
    words = flags(api, host, account)
    if ca is not None:
        api._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "other.key"),
            *("-out", ca, "-subj", "/CN=other"),
        )
        words[words.index("--identity.ca-file") + 1] = api.home / ca
    with served(tmp_path / "log", words) as server:
        page = server.eventually(lambda page: 'errors_total{source="api"} 0\n' not in page)
        assert 'identity_errors_total{source="api"} 0\n' not in page
        assert f'cgroup="{path}"' in page
        assert 'namespace="' not in page
        assert server.log.read_text().count(problem) == 1
