"""Who is believed, when sources are asked again, and what is told."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from cgexporter.correlate.facts import Facts
from cgexporter.exporter import Exporter
from cgexporter.hierarchies import find
from cgexporter.names import Answer, Answers, Wanted
from cgexporter.names.resolver import Resolver
from cgexporter.own import page
from cgexporter.publish import Format
from tests.tools.hosts import Host, container, docker, hex_id

UID = "65d065af-ae73-47db-b13a-2485901d6eb7"
POD = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice"


class Fake:
    """A source that tells what it is given, by path."""

    name: ClassVar = "fake"
    live: ClassVar = False
    pods: ClassVar = False
    hint: ClassVar = "be kind"
    last_resort: ClassVar = False
    runtimes: ClassVar = frozenset[str]()

    def __init__(self, known: Mapping[str, Answer]) -> None:
        self.known = dict(known)
        self.asked: list[list[str]] = []
        self.error: Exception | None = None
        self.shut = False

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Tell it."""
        self.asked.append([want.path for want in wanted])
        if self.error is not None:
            raise self.error
        return {want.key: self.known[want.path] for want in wanted if want.path in self.known}

    def problems(self) -> Mapping[str, str]:
        """None."""
        return {}

    def denied(self) -> Sequence[str]:
        """Something."""
        return ["/run/secret"]

    def close(self) -> None:
        """Remember it."""
        self.shut = True


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """An empty host."""
    return Host(tmp_path)


def with_source(host: Host, *sources: Fake) -> Exporter:
    """An exporter with other sources."""
    exporter = host.exporter(logs=False, state=False)
    exporter.resolver = Resolver(sources, find(str(host.cgroupfs), str(host.procfs)))
    return exporter


def named(name: str) -> Answer:
    """An answer."""
    return Answer(Facts(name=name))


def wait(exporter: Exporter, path: str) -> str | None:
    """Scan until a container has a name."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        view = exporter.look()
        exporter.resolver.want(view)
        if (name := container(view, path).name) is not None:
            return name
        time.sleep(0.02)
    return None


def test_a_scan_does_not_wait(host: Host) -> None:
    """A container is published at once, and named later, with the same ID."""
    host.cgroup(docker("web"))

    class Slow(Fake):
        def find(self, wanted: Sequence[Wanted]) -> Answers:
            time.sleep(0.3)
            return super().find(wanted)

    exporter = with_source(host, Slow({docker("web"): named("web")}))
    begin = time.monotonic()
    view = exporter.look()
    exporter.resolver.want(view)
    assert time.monotonic() - begin < 0.2
    first = container(view, docker("web"))
    assert first.name is None
    assert wait(exporter, docker("web")) == "web"
    assert container(exporter.look(), docker("web")).id == first.id
    exporter.close()


def test_asking_again_backs_off(host: Host) -> None:
    """Who is not known is asked for again, ever more seldom, without a scan."""
    host.cgroup(docker("web"))
    source = Fake({})
    exporter = with_source(host, source)
    exporter.resolver.want(exporter.look())
    time.sleep(1.2)
    asked = len(source.asked)
    assert 3 <= asked <= 7  # at 0, 0.05, 0.15, 0.35, 0.75 s
    source.known[docker("web")] = named("web")
    assert wait(exporter, docker("web")) == "web"
    time.sleep(0.2)
    asked = len(source.asked)
    exporter.resolver.want(exporter.look())
    time.sleep(0.2)
    assert len(source.asked) == asked  # who is known is not asked for
    exporter.close()
    assert source.shut


def test_removed_containers_are_forgotten(host: Host) -> None:
    """Another container at the same path is another one."""
    host.cgroup(docker("web"))
    source = Fake({docker("web"): named("web")})
    exporter = with_source(host, source)
    assert container(exporter.name(exporter.look()), docker("web")).name == "web"
    host.remove(docker("web"))
    assert not exporter.name(exporter.look()).containers
    assert not exporter.resolver.told
    source.known.clear()
    (host.cgroupfs / "keeps-the-inode-number").mkdir()
    host.cgroup(docker("web"))
    assert container(exporter.name(exporter.look()), docker("web")).name is None
    exporter.close()


def test_a_source_with_a_bug_costs_the_others_nothing(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Its errors are counted and logged; the names of others are told."""
    host.cgroup(docker("web"))
    bad, good = Fake({}), Fake({docker("web"): named("web")})
    bad.error = RuntimeError("broken")
    good.name = "good"  # type: ignore[misc]
    exporter = with_source(host, bad, good)
    view = exporter.name(exporter.look())
    assert container(view, docker("web")).name == "web"
    text = page(exporter, view, Format.TEXT).decode()
    assert 'cgexporter_identity_errors_total{source="fake"} 1\n' in text
    assert 'cgexporter_identity_answers{source="good"} 1\n' in text
    assert "cgexporter_identity_unresolved 0\n" in text
    assert "broken" in caplog.text
    exporter.close()


def test_what_is_denied_is_said_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """With the step that would allow it, and only where it would help."""
    host.cgroup(docker("a"))
    exporter = with_source(host, Fake({docker("a"): named("a")}))
    exporter.name(exporter.look())
    assert not exporter.resolver.missing
    host.cgroup(docker("b"))
    exporter.name(exporter.look())
    assert exporter.resolver.missing == {"fake": "may not read /run/secret; be kind"}
    assert not caplog.messages  # --once says it beside its output
    for name in ("c", "d"):
        host.cgroup(docker(name))
        exporter.resolver.want(exporter.look())
        time.sleep(0.6)
    assert caplog.messages == ["names from fake: may not read /run/secret; be kind"]
    exporter.close()


def test_an_id_is_believed_of_one_cgroup(host: Host) -> None:
    """A forged cgroup with another's ID gets no name and takes none."""
    forged = f"{docker('evil')}/docker-{hex_id('web')}.scope"
    in_scope = f"/system.slice/x.service/docker-{hex_id('web')}.scope"
    for path in (docker("web"), docker("evil"), forged):
        host.cgroup(path)
    host.docker(hex_id("web"), "web")
    host.docker(hex_id("evil"), "evil")
    view = host.view()
    assert container(view, docker("web")).name == "web"
    assert container(view, forged).name is None
    # Two that only the system could have made: neither is guessed.
    host.cgroup(in_scope)
    host.cgroup(f"/a.slice/docker-{hex_id('web')}.scope")
    view = host.view()
    assert [c.cgroup.path for c in view.containers if c.name == "web"] in ([], [docker("web")])


def test_a_forged_cgroup_alone(host: Host) -> None:
    """Also where the real container has no cgroup, one inside a container is not believed."""
    forged = f"{docker('evil')}/docker-{hex_id('web')}.scope"
    host.cgroup(forged)
    host.docker(hex_id("web"), "web")
    assert container(host.view(), forged).name is None


def test_another_pod_is_not_believed(host: Host) -> None:
    """A log link of another pod names nobody."""
    path = f"{POD}/cri-containerd-{hex_id('app')}.scope"
    host.cgroup(path)
    host.log("cart-0", "shop", "app", hex_id("app"), "00000000-0000-0000-0000-000000000000")
    found = container(host.view(), path)
    assert found.name is None
    assert found.facts.pod is None


def test_the_sandbox_has_no_log(host: Host) -> None:
    """In a pod whose containers have links, the one without is its sandbox."""
    app, pause = (f"{POD}/cri-containerd-{hex_id(name)}.scope" for name in ("app", "pause"))
    host.cgroup(app)
    host.cgroup(pause)
    host.log("cart-0", "shop", "app", hex_id("app"), UID)
    view = host.view()
    assert [c.cgroup.path for c in view.containers] == [app]
    (sandbox,) = view.sandboxes
    assert (sandbox.facts.namespace, sandbox.facts.pod, sandbox.name) == ("shop", "cart-0", None)
    (pod,) = view.pods
    assert (pod.facts.namespace, pod.facts.pod) == ("shop", "cart-0")


def test_a_container_that_just_starts_is_no_sandbox(host: Host) -> None:
    """It came after those that have links; it goes without a name until it has its own."""
    app, side, pause = (
        f"{POD}/cri-containerd-{hex_id(name)}.scope" for name in ("app", "side", "pause")
    )
    host.cgroup(pause)
    host.cgroup(app)
    host.log("cart-0", "shop", "app", hex_id("app"), UID)
    exporter = host.exporter()
    assert len(exporter.name(exporter.look()).sandboxes) == 1
    host.cgroup(side)
    view = exporter.name(exporter.look())
    started = container(view, side)
    assert (started.facts.pod, started.name) == ("cart-0", None)
    host.log("cart-0", "shop", "side", hex_id("side"), UID)
    exporter.resolver.want(view)
    assert wait(exporter, side) == "side"
    view = exporter.look()
    assert [s.cgroup.path for s in view.sandboxes] == [pause]
    exporter.close()


def test_no_sandbox_without_any_link(host: Host) -> None:
    """A pod with no links at all (logs go elsewhere) hides nothing."""
    host.cgroup(f"{POD}/cri-containerd-{hex_id('app')}.scope")
    host.cgroup(f"{POD}/cri-containerd-{hex_id('pause')}.scope")
    (host.root / "var/log/containers").mkdir(parents=True)
    view = host.view()
    assert len(view.containers) == 2
    assert not view.sandboxes
