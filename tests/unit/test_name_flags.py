"""The flags --identity.*: what they mean, and what they refuse."""

from pathlib import Path

import pytest

from cgexporter import name_flags
from cgexporter.cli import main, parser


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read, no server is asked."""
    monkeypatch.setenv("NODE_NAME", "n1")
    identity = name_flags.identity(parser().parse_args([]))
    assert identity.logs
    assert identity.state
    assert identity.kubelet is None
    assert identity.api is None
    assert not identity.sockets
    assert identity.node == "n1"


def test_all() -> None:
    """Each flag reaches its setting."""
    words = [
        *("--identity.root", "/host", "--no-identity.logs", "--no-identity.state"),
        *("--identity.state-root", "docker=/data/", "--identity.kubelet", "https://[::1]:10250/"),
        *("--identity.api", "in-cluster", "--identity.node", "n2", "--identity.labels", "app"),
        *("--identity.token-file", "/t", "--identity.ca-file", "/c"),
        *("--identity.socket", "cri-o=/run/crio/crio.sock"),
    ]
    flags = parser().parse_args(words)
    assert name_flags.problem(flags) is None
    identity = name_flags.identity(flags)
    assert (identity.root, identity.logs, identity.state) == ("/host", False, False)
    assert identity.state_roots == [("docker", "/data")]
    assert identity.kubelet is not None
    assert identity.kubelet.url == "https://[::1]:10250"
    assert identity.api is not None
    assert (identity.api.token_file, identity.api.ca_file) == ("/t", "/c")
    assert identity.sockets == [("cri-o", "/run/crio/crio.sock")]
    assert (identity.node, set(identity.labels)) == ("n2", {"app"})


@pytest.mark.parametrize(
    "words",
    [
        ["--identity.state-root", "docker"],
        ["--identity.state-root", "nothing=/x"],
        ["--identity.socket", "docker=relative"],
        ["--identity.kubelet", "http://10.0.0.1:10255"],
        ["--identity.kubelet", "https://host:99999999"],
        ["--identity.kubelet", "ftp://host"],
        ["--identity.kubelet", "https://host/pods"],
        ["--identity.api", "cluster"],
        ["--identity.api", "https://host"],
        ["--identity.labels", ""],
        ["--identity.labels", "a.b", "--identity.labels", "a-b"],
    ],
)
def test_refused(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot work is one line and exit status 2."""
    monkeypatch.delenv("NODE_NAME", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["--once", *words])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_no_root(capsys: pytest.CaptureFixture[str], fixtures: Path) -> None:
    """A root that is not there is one line and exit status 1, not a host without names."""
    tree = fixtures / "v2-6.1-kubernetes"
    words = ["--once", "--identity.root", str(tree / "none")]
    words += ["--path.cgroupfs", f"{tree}/sys/fs/cgroup", "--path.procfs", f"{tree}/proc"]
    assert main(words) == 1
    assert "give the host's root as --identity.root" in capsys.readouterr().err


def test_no_cluster(
    fixtures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Being told in-cluster outside of one is one line and exit status 1."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    tree = fixtures / "v2-6.1-kubernetes"
    words = ["--once", "--identity.api", "in-cluster", "--identity.node", "n1"]
    words += ["--path.cgroupfs", f"{tree}/sys/fs/cgroup", "--path.procfs", f"{tree}/proc"]
    assert main(words) == 1
    assert "KUBERNETES_SERVICE_HOST" in capsys.readouterr().err
