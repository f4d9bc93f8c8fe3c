"""No value of a container's environment is in memory or output after a source was read."""

import json
import secrets
import ssl
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.tools.hosts import Host, docker, hex_id
from tests.tools.served import Served, served
from tests.tools.tellers import Tellers


def planted(directory: Path) -> tuple[Host, bytes]:
    """A host whose files hold a secret in each `env`, beside the names that are read."""
    host = Host(directory)
    secret = secrets.token_hex(24)
    env = [f"DB_PASSWORD={secret}"]
    # Large enough that buffers come from all of the allocator's ways.
    more = [f"FILLER_{number}={'x' * number}" for number in range(0, 3000, 100)]
    for number in range(20):
        name = f"planted-{number}"
        host.cgroup(docker(name))
        host.docker(hex_id(name), name, Env=env + more[: number * 2], Labels={"secret": secret})
        podman = f"/machine.slice/libpod-{hex_id(f'p{number}')}.scope"
        host.cgroup(podman)
        bundle = host.bundle(
            f"/var/lib/containers/storage/overlay-containers/{hex_id(f'p{number}')}/userdata",
            {"io.container.manager": "libpod", "secret": secret},
        )
        bundle.write_text(bundle.read_text().replace("must-not-be-kept", secret))
        state = host.runc("/run/runc", f"mine-{number}", f"/runc-mine-{number}.scope")
        host.cgroup(f"/runc-mine-{number}.scope")
        state.write_text(state.read_text().replace("must-not-be-kept", secret))
    env_of = json.dumps({"spec": {"process": {"env": env}}, "labels": {"team": "a"}})
    host.libpod(
        {"ctr": {hex_id(f"p{number}"): {"config": env_of} for number in range(20)}, "pod": {}}
    )
    for number in range(20):
        host.cgroup(f"/default/ctr-{number}", 100 + number)
        host.process(100 + number)
    host.containerd(
        {
            "default": {
                f"ctr-{number}": {
                    "image": "lab:1",
                    "spec": f"env {secret}",
                    "labels": {"s": secret},
                }
                for number in range(20)
            }
        }
    )
    host.write(
        "/var/lib/containers/storage/overlay-containers/containers.json",
        [{"id": hex_id(f"p{number}"), "names": [f"p{number}"]} for number in range(20)],
    )
    return host, secret.encode()


def flags(host: Host) -> list[str | Path]:
    """To see that host."""
    return [
        *("--path.cgroupfs", host.cgroupfs, "--path.procfs", host.procfs),
        *("--identity.root", host.root, "--log.level", "debug"),
    ]


def test_memory_of_a_server(tmp_path: Path) -> None:
    """A dump of all its memory has the names of every container, and not the secret."""
    host, secret = planted(tmp_path)
    with served(tmp_path / "log", flags(host)) as server:
        page = server.eventually(lambda page: "\ncgexporter_identity_unresolved 0\n" in page)
        assert "\ncgexporter_identity_unresolved 0\n" in page
        assert 'container="planted-19"' in page
        assert 'container="ctr-19"' in page
        found = name = 0
        for piece in server.memory():
            found += piece.count(secret)
            name += piece.count(b"planted-19")
        assert name
        assert not found
        assert secret not in page.encode()
    assert secret not in (tmp_path / "log").read_bytes()


def test_output_of_once(tmp_path: Path) -> None:
    """No format prints it, nor does the log."""
    host, secret = planted(tmp_path)
    for form in ("table", "json", "prom"):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "cgexporter",
                "--once",
                "--format",
                form,
                *map(str, flags(host)),
            ],
            capture_output=True,
            check=True,
        )
        assert b"planted-19" in done.stdout
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_memory_of_who_asks_servers(tmp_path: Path, tls: ssl.TLSVersion) -> None:
    """Neither the kubelet's answer, nor the API's list and events, nor a socket's leave one."""
    host, tellers = Host(tmp_path), Tellers(tmp_path, tls)
    for number in range(41):
        host.cgroup(Tellers.path(number))
    for number in range(20):
        host.cgroup(docker(f"socket-{number}"))
        host.cgroup(f"/system.slice/crio-{hex_id(f'crio-{number}')}.scope")
    (tmp_path / "token").write_text("token")
    flags: list[str | Path] = [
        *("--path.cgroupfs", host.cgroupfs, "--path.procfs", host.procfs),
        *("--identity.root", host.root, "--log.level", "debug", "--identity.labels", "app"),
        *("--identity.kubelet", tellers.kubelet(), "--identity.api", tellers.api()),
        *("--identity.node", "n1", "--identity.ca-file", tellers.ca_file),
        *("--identity.token-file", tmp_path / "token"),
        f"--identity.socket=docker={tellers.docker()}",
        f"--identity.socket=cri-o={tellers.crio()}",
    ]
    try:
        with served(tmp_path / "log", flags) as server:
            # The list is told before the watch, which may add to it or change it.
            listed = ("kubelet-19", "list-39", "docker-19", "crio-19")
            page = server.eventually(lambda page: all(name in page for name in listed))
            assert [name for name in listed if name not in page] == [], server.log.read_text()
            _search(server, tellers, {"watch", "changed", "last"})
            tellers.tell()
            told = ("watch-40", "changed-39", "last-20")
            page = server.eventually(lambda page: all(name in page for name in told))
            assert [name for name in told if name not in page] == [], server.log.read_text()
            # Here the watch is still open, and waits.
            _search(server, tellers, {"list"})
            page = server.page()
            assert not any(secret in page.encode() for secret in tellers.secrets.values())
    finally:
        tellers.close()
    log = (tmp_path / "log").read_bytes()
    assert not any(secret in log for secret in tellers.secrets.values())


def _search(server: Served, tellers: Tellers, not_told: set[str]) -> None:
    """Search all memory: names have to be there, and no secret."""
    found, names = Counter[str](), Counter[str]()
    for piece in server.memory():
        for where, secret in tellers.secrets.items():
            found[where] += piece.count(secret)
            names[where] += piece.count(tellers.names[where])
    assert {where for where in tellers.secrets if not names[where]} <= not_told
    assert not +found
