"""Whose cgroup is it: containers, pods and the rest of hand-made and captured hosts."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.correlate.facts import Facts
from cgexporter.correlate.identity import Correlator, owns_below, rank
from cgexporter.correlate.view import View
from cgexporter.hierarchies import Hierarchies, Hierarchy, find
from cgexporter.model import Cgroup, Mode, Snapshot
from cgexporter.model.cpu import Cpu
from cgexporter.model.io_more import DeviceLimits
from cgexporter.model.memory import Memory
from cgexporter.model.tasks import Core, Pids
from cgexporter.scan import Scanner
from cgexporter.walker import EVERY

Lay = Callable[[Mapping[str, str]], Path]
Replace = Callable[..., None]

A, B, C = "a1" * 32, "b2" * 32, "c3" * 32
POD = "/kubepods.slice/kubepods-pod6379596c_6187_4328_83db_f6b7731d4741.slice"
BURSTABLE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1111_2222.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"
PODMAN = f"/machine.slice/libpod-{A}.scope"

NESTED, HOST, ISOLATED = "\t1", "", "mnt,net"
DEEPER = "\t7\t1"  # in a container in a container


class Host:
    """A hand-made v2 host, scanned and correlated as often as wanted."""

    def __init__(self, lay: Lay) -> None:
        self._lay = lay
        self._pid = 100
        self.root = lay({"cg/cgroup.procs": ""})
        self.process(1)
        tree = Hierarchy(f"{self.root}/cg", "/", frozenset(), unified=True)
        hierarchies = Hierarchies(tree, {}, f"{self.root}/proc")
        self._scanner = Scanner(hierarchies, rank=rank)
        self._correlator = Correlator(hierarchies)

    def process(self, pid: int, kind: str = HOST, score: int = 0, started: int = 50) -> None:
        """A process: nested in a PID namespace, isolated by other kinds, or the host's."""
        nested = kind if kind in (NESTED, DEEPER) else ""
        own = kind.split(",") if kind == ISOLATED else ()
        self._lay(
            {
                f"proc/{pid}/stat": f"{pid} (sh) S{' 0' * 18} {started} 0\n",
                f"proc/{pid}/status": f"Name:\tsh\nNSpid:\t{pid}{nested}\n",
                f"proc/{pid}/oom_score_adj": f"{score}\n",
                **{
                    f"proc/{pid}/ns/{name}": f"->{name}:[{9 if name in own else 4}]"
                    for name in ("mnt", "net", "pid", "uts")
                },
            }
        )

    def cgroup(self, path: str, kind: str | None = None, score: int = 0, **files: str) -> int:
        """A cgroup, with a process where its kind is given; returns that one's PID."""
        self._pid += 1
        if kind is not None:
            self.process(self._pid, kind, score)
        above = path
        while above := above.rpartition("/")[0]:
            if not (self.root / f"cg{above}/cgroup.procs").exists():
                self._lay({f"cg{above}/cgroup.procs": ""})
        procs = "" if kind is None else f"{self._pid}\n"
        texts = {"cgroup.procs": procs} | {k.replace("_", "."): v for k, v in files.items()}
        self._lay({f"cg{path}/{name}": text for name, text in texts.items()})
        return self._pid

    def view(self) -> View:
        """Scan and correlate once more."""
        return self._correlator.correlate(self._scanner.scan())

    def catch_up(self) -> None:
        """Do what was left for a moment between two scans."""
        self._correlator.catch_up()


@pytest.fixture
def host(lay: Lay) -> Host:
    """A v2 host with nothing but its root cgroup and its PID 1."""
    return Host(lay)


def containers(view: View) -> dict[str, str]:
    """IDs of the containers by path."""
    return {container.cgroup.path: container.id for container in view.containers}


def cgroups(view: View) -> list[str]:
    """Paths of what is published as cgroup."""
    return [cgroup.path for cgroup in view.cgroups]


def test_containers_by_path(host: Host) -> None:
    """A path of a known form makes a container, a pod or a cgroup, without any process."""
    host.cgroup(f"/docker/{A}")
    host.cgroup(f"{POD}/cri-containerd-{B}.scope")
    host.cgroup("/system.slice/sshd.service/inner")
    host.cgroup("/system.slice/var.mount")
    view = host.view()
    assert containers(view) == {
        f"/docker/{A}": A[:12],
        f"{POD}/cri-containerd-{B}.scope": B[:12],
    }
    assert [(pod.cgroup.path, pod.uid) for pod in view.pods] == [
        (POD, "6379596c-6187-4328-83db-f6b7731d4741")
    ]
    assert cgroups(view) == (
        ["/", "/docker", "/kubepods.slice", "/system.slice", "/system.slice/sshd.service"]
    )
    assert view.sandboxes == []
    assert not view.denied


def test_order(host: Host) -> None:
    """Each list is in order of path, so that pages look alike."""
    for identifier in (C, A, B):
        host.cgroup(f"/docker/{identifier}")
    assert [c.cgroup.path for c in host.view().containers] == (
        [f"/docker/{identifier}" for identifier in (A, B, C)]
    )


@pytest.mark.parametrize(
    ("path", "name", "identifier"),
    [
        (f"/system.slice/docker-{A}.scope", None, A[:12]),
        ("/system.slice/runc-web.scope", None, "web"),
        ("/system.slice/docker-abcdefghijklmnopqrstuvwxy.scope", None, "abcdefghijklmnopqrstuvwxy"),
        ("/machine.slice/machine-web.scope", "web", ""),
        ("/lxc.payload.web", "web", ""),
    ],
)
def test_ids(host: Host, path: str, name: str | None, identifier: str) -> None:
    """An ID of 64 hex digits is cut to 12, another is kept; a name needs none."""
    host.cgroup(path)
    (container,) = host.view().containers
    assert (container.name, container.id) == (name, identifier)


@pytest.mark.parametrize("kind", [NESTED, ISOLATED])
def test_promoted_by_namespaces(host: Host, kind: str) -> None:
    """A path that proves nothing is a container where its first process lives as one does."""
    pid = host.cgroup("/default/web", kind)
    host.cgroup("/default/plain", HOST)
    host.cgroup("/default/empty")
    view = host.view()
    assert containers(view) == {"/default/web": "web"}
    (container,) = view.containers
    assert container.place.container_path == "/default/web"
    assert (container.place.runtime, container.name) == (None, None)
    assert container.process is not None
    assert container.process.pid == pid
    assert cgroups(view) == ["/", "/default", "/default/empty", "/default/plain"]


@pytest.mark.parametrize(
    "path", ["", "/x.slice", "/x.service", "/system.slice/x.service", "/a/x.timer"]
)
def test_never_promoted(host: Host, path: str) -> None:
    """The root, slices and services are no containers, however they live."""
    host.cgroup(path, NESTED)
    view = host.view()
    assert containers(view) == {}
    assert (path or "/") in cgroups(view)


def test_processes_below_promote_nothing(host: Host) -> None:
    """Only a process of the cgroup itself promotes it, none of a cgroup below."""
    host.cgroup("/default")
    host.cgroup("/default/web", NESTED)
    assert containers(host.view()) == {"/default/web": "web"}


def test_below_a_promoted_container(host: Host) -> None:
    """What is below a promoted container is its own; it is published as no other thing."""
    host.cgroup("/default/web", NESTED)
    host.cgroup("/default/web/init.scope", NESTED)
    host.cgroup("/default/web/x/y", NESTED)
    view = host.view()
    assert containers(view) == {"/default/web": "web"}
    assert cgroups(view) == ["/", "/default"]


@pytest.mark.parametrize("sibling", ["/default/web-2", "/default/web.2", "/default/web 2"])
def test_sibling_of_a_promoted_container(host: Host, sibling: str) -> None:
    """A container's own cgroups are its own also where another's name begins like its name."""
    host.cgroup("/default/web", NESTED)
    host.cgroup("/default/web/workers", NESTED)
    host.cgroup(sibling, NESTED)
    assert containers(host.view()).keys() == {"/default/web", sibling}


def test_container_in_a_promoted_container(host: Host) -> None:
    """A promoted container that holds containers and pods is published as a cgroup."""
    inner, pod = f"/default/kind/docker/{A}", f"/default/kind{POD}"
    host.cgroup("/default/kind", NESTED)
    host.cgroup(inner, DEEPER)
    host.cgroup(f"{pod}/cri-containerd-{B}.scope", DEEPER)
    view = host.view()
    assert containers(view) == {
        inner: A[:12],
        f"{pod}/cri-containerd-{B}.scope": B[:12],
    }
    assert {container.place.parent_path for container in view.containers} == {"/default/kind"}
    assert [each.place.parent_path for each in view.pods] == ["/default/kind"]
    assert cgroups(view) == ["/", "/default", "/default/kind"]


def test_in_a_service(host: Host) -> None:
    """What a service runs in namespaces that systemd gave it is no container: systemd-udevd."""
    host.cgroup("/system.slice/systemd-udevd.service/udev", ISOLATED)
    host.cgroup("/system.slice/nsp.service/payload", NESTED)
    view = host.view()
    assert containers(view) == {"/system.slice/nsp.service/payload": "payload"}
    assert "/system.slice/systemd-udevd.service/udev" not in cgroups(view)


def test_promoted_later(host: Host) -> None:
    """A runtime unshares after the process has joined: it is looked at again."""
    pid = host.cgroup("/default/web", HOST)
    assert containers(host.view()) == {}
    host.process(pid, NESTED)
    assert containers(host.view()) == {"/default/web": "web"}


def test_process_that_comes_later(host: Host) -> None:
    """So is a cgroup that was empty; not in each scan, and never given up."""
    host.cgroup(f"/docker/{A}")
    seen = []
    for scan in range(100):
        if scan == 20:
            host.cgroup(f"/docker/{A}", NESTED)
        (container,) = host.view().containers
        seen.append(container.process is not None)
    found = seen.index(True)
    assert 32 <= found < 64
    assert all(seen[found:])


@pytest.mark.parametrize("is_idle", [True, False])
def test_looked_at_between_scans(host: Host, is_idle: bool) -> None:
    """Who has been there for long is looked at when no scan is under way, or before the next."""
    pid = host.cgroup(f"/docker/{A}", NESTED)
    for _ in range(2 * EVERY):
        host.view()
    before = host.view()
    host.process(pid, NESTED, score=7)
    for _ in range(EVERY + 1):
        if is_idle:
            host.catch_up()
        (container,) = host.view().containers
        assert container.process is not None
        if container.process.oom_score_adj == 7:
            break
    assert container.process is not None
    assert container.process.oom_score_adj == 7
    assert before.containers[0].process != container.process


def test_other_cgroup_of_the_same_path(host: Host) -> None:
    """A cgroup that was made again is asked anew for its process."""
    first = host.cgroup("/default/web", NESTED)
    for _ in range(10):
        (container,) = host.view().containers
        assert container.process is not None
        assert container.process.pid == first
    (host.root / "cg/default/web").rename(host.root / "old")
    second = host.cgroup("/default/web", NESTED)
    (container,) = host.view().containers
    assert container.process is not None
    assert container.process.pid == second


def test_nested_holders(host: Host) -> None:
    """A container that holds containers (kind, Docker in Docker) would count them twice."""
    inner = f"/docker/{A}/docker/{B}"
    innermost = f"{inner}/docker/{C}"
    host.cgroup(inner)
    view = host.view()
    assert containers(view) == {inner: B[:12]}
    assert cgroups(view) == ["/", "/docker", f"/docker/{A}"]
    host.cgroup(innermost)
    view = host.view()
    assert containers(view) == {innermost: C[:12]}
    assert cgroups(view) == ["/", "/docker", f"/docker/{A}", inner]


@pytest.mark.parametrize("outer", [f"/docker/{A}", PODMAN])
def test_process_of_a_nested_container(host: Host, outer: str) -> None:
    """A process of a container in a container is not the outer one's: they are two."""
    inner = f"{outer}/docker/{B}"
    host.cgroup(outer)
    pid = host.cgroup(inner, DEEPER)
    view = host.view()
    (container,) = view.containers
    assert container.cgroup.path == inner
    assert container.process is not None
    assert container.process.pid == pid
    assert outer in cgroups(view)


def test_pod_in_a_container(host: Host) -> None:
    """A kubelet in a container: its pods make the container a holder, before any container."""
    pod = f"/docker/{A}{POD}"
    host.cgroup(pod)
    view = host.view()
    assert containers(view) == {}
    assert [each.cgroup.path for each in view.pods] == [pod]
    assert f"/docker/{A}" in cgroups(view)


@pytest.mark.parametrize(
    ("scores", "sandboxes"),
    [
        ({A: -998, B: 1000, C: 999}, {A}),
        ({A: -998, B: -997, C: -997}, {A}),
        ({A: -998, B: -998, C: 2}, set[str]()),  # old kubelets, Guaranteed pods
        ({A: -998, B: -998, C: -998}, set[str]()),
        ({A: -998}, {A}),
        ({A: 0, B: 1000}, set[str]()),
        ({A: -999, B: 1000}, set[str]()),
    ],
)
def test_sandbox(host: Host, scores: Mapping[str, int], sandboxes: set[str]) -> None:
    """Exactly one container of a pod with the sandbox's score is its sandbox; of several none."""
    paths = {identifier: f"{BURSTABLE}/cri-containerd-{identifier}.scope" for identifier in scores}
    for identifier, score in scores.items():
        host.cgroup(paths[identifier], NESTED, score)
    view = host.view()
    assert {each.cgroup.path for each in view.sandboxes} == {paths[each] for each in sandboxes}
    assert containers(view).keys() == {paths[each] for each in scores.keys() - sandboxes}


def test_sandboxes_of_two_pods(host: Host) -> None:
    """Each pod is looked at by itself."""
    sandboxes = [f"{POD}/cri-containerd-{A}.scope", f"{BURSTABLE}/cri-containerd-{B}.scope"]
    for sandbox in sandboxes:
        host.cgroup(sandbox, NESTED, -998)
    assert [each.cgroup.path for each in host.view().sandboxes] == sorted(sandboxes)


def test_score_outside_a_pod(host: Host) -> None:
    """A container of no Kubernetes pod may have that score: ctr gives it to all of its own."""
    host.cgroup(f"/docker/{A}", NESTED, -998)
    host.cgroup("/default/web", NESTED, -998)
    podman_pod = f"/machine.slice/machine-libpod_pod_{B}.slice"
    host.cgroup(f"{podman_pod}/libpod-{C}.scope", NESTED, -998)
    view = host.view()
    assert view.sandboxes == []
    assert len(view.containers) == 3


def test_sandbox_proven_by_its_path(host: Host) -> None:
    """CRI-O without a pause process makes the sandbox's cgroup by another name."""
    host.cgroup(f"{POD}/crio-{A}")
    host.cgroup(f"{POD}/crio-{B}.scope", NESTED, -998)
    host.cgroup(f"{POD}/crio-{C}.scope", NESTED, -998)
    view = host.view()
    assert [each.cgroup.path for each in view.sandboxes] == [f"{POD}/crio-{A}"]
    assert len(view.containers) == 2


def test_denied(host: Host, replace_calls: Replace) -> None:
    """Whether some container's namespaces may not be read is said once."""

    def readlink(path: str, *, dir_fd: int | None = None) -> str:
        raise PermissionError(13, "denied", path)

    host.cgroup("/plain", HOST)
    replace_calls(readlink=readlink)
    assert not host.view().denied
    host.cgroup(f"/docker/{A}", NESTED)
    assert host.view().denied


def test_odd_process_name(host: Host) -> None:
    r"""A process named "\rNSpid:\tx", as anyone may name it, costs nobody his samples."""
    pid = host.cgroup("/default/evil", HOST)
    host.cgroup(f"/docker/{A}", NESTED)
    status = b"Name:\t\rNSpid:\tx\nNSpid:\t7\n"
    (host.root / f"proc/{pid}/status").write_bytes(status)
    assert containers(host.view()) == {f"/docker/{A}": A[:12]}


def test_forged_id_below_a_service(host: Host) -> None:
    """A user names a cgroup of his own like another's container: the ID stays with the other."""
    forged = f"{USER}/user.slice/libpod-{A}.scope"
    host.cgroup(f"/docker/{A}")
    host.cgroup(forged)
    assert containers(host.view()) == {f"/docker/{A}": A[:12], forged: forged}


def test_forged_id_in_another_container(host: Host) -> None:
    """The same for a cgroup made inside a container."""
    forged = f"/docker/{B}/docker/{A}"
    host.cgroup(f"/docker/{A}")
    host.cgroup(forged)
    assert containers(host.view()) == {f"/docker/{A}": A[:12], forged: forged}


def test_id_with_the_same_beginning(host: Host) -> None:
    """IDs that differ in their last digits only are told apart by path."""
    other = A[:12] + B[12:]
    host.cgroup(f"/docker/{A}")
    host.cgroup(f"{USER}/docker/{other}")
    assert containers(host.view())[f"/docker/{A}"] == A[:12]
    host.cgroup(f"/docker/{other}")
    assert set(containers(host.view()).values()) == {
        f"/docker/{A}",
        f"/docker/{other}",
        f"{USER}/docker/{other}",
    }


def test_lone_id_below_a_service(host: Host) -> None:
    """Where nobody else claims it, a user's container has its ID."""
    host.cgroup(f"{USER}/user.slice/libpod-{A}.scope")
    assert list(containers(host.view()).values()) == [A[:12]]


def test_names_that_are_claimed_twice(host: Host) -> None:
    """A name counts with the ID: two of one name go by their paths."""
    host.cgroup("/machine.slice/machine-web.scope")
    host.cgroup("/lxc.payload.web")
    assert [(c.name, c.id) for c in host.view().containers] == [
        ("web", "/lxc.payload.web"),
        ("web", "/machine.slice/machine-web.scope"),
    ]


def test_forged_pod(host: Host) -> None:
    """A pod's UID stays with the pod that is in no container."""
    forged = f"/docker/{A}{POD}"
    host.cgroup(POD)
    host.cgroup(forged)
    assert {pod.cgroup.path: pod.uid for pod in host.view().pods} == {
        POD: "6379596c-6187-4328-83db-f6b7731d4741",
        forged: forged,
    }


def test_payload(host: Host) -> None:
    """Podman with crun limits a cgroup below the container's: the stricter limit counts."""
    host.cgroup(
        PODMAN,
        cpu_stat="usage_usec 3000000\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
        cpu_max="max 100000\n",
        memory_current="4096\n",
        memory_max="max\n",
        pids_max="3492\n",
    )
    host.cgroup(
        f"{PODMAN}/container",
        NESTED,
        cpu_stat="usage_usec 2900000\nnr_periods 98\nnr_throttled 95\nthrottled_usec 6000000\n",
        cpu_max="30000 100000\n",
        memory_current="2048\n",
        memory_max="67108864\n",
        pids_max="60\n",
    )
    view = host.view()
    (container,) = view.containers
    assert container.cgroup.path == PODMAN
    assert container.cgroup.cpu == Cpu(
        usage_seconds=3.0,
        periods=98,
        throttled_periods=95,
        throttled_seconds=6.0,
        limit_cores=0.3,
        period_seconds=0.1,
    )
    assert container.cgroup.memory == Memory(current_bytes=4096, max_bytes=67_108_864)
    assert container.cgroup.pids == Pids(max=60)
    assert cgroups(view) == ["/", "/machine.slice"]
    assert container.process is not None


def test_payload_of_nspawn(host: Host) -> None:
    """systemd-nspawn runs a machine in `payload`, beside its own `supervisor`."""
    scope = "/machine.slice/machine-web.scope"
    host.cgroup(scope, memory_max="max\n")
    pid = host.cgroup(f"{scope}/payload", NESTED, memory_max="64\n")
    host.cgroup(f"{scope}/supervisor", HOST, memory_max="32\n")
    (container,) = host.view().containers
    assert container.cgroup.memory == Memory(max_bytes=64)
    assert container.process is not None
    assert container.process.pid == pid


def test_other_cgroups_below_a_container(host: Host) -> None:
    """What a container calls `container` in itself is no payload of Docker's."""
    host.cgroup(f"/docker/{A}", memory_max="max\n")
    host.cgroup(f"/docker/{A}/container", memory_max="64\n")
    (container,) = host.view().containers
    assert container.cgroup.memory == Memory(max_bytes=float("inf"))


def test_merged_cgroup_is_kept(host: Host) -> None:
    """A merged cgroup is the same object while neither part changed."""
    host.cgroup(PODMAN, memory_max="max\n")
    host.cgroup(f"{PODMAN}/container", memory_max="64\n")
    first, second = (host.view().containers[0].cgroup for _ in range(2))
    assert first is second
    host.cgroup(f"{PODMAN}/container", memory_max="32\n")
    third = host.view().containers[0].cgroup
    assert third.memory == Memory(max_bytes=32)
    assert third.cpu is first.cpu


def test_payload_that_vanishes(host: Host) -> None:
    """Without its payload a container is its own cgroup again."""
    host.cgroup(PODMAN, memory_max="max\n")
    host.cgroup(f"{PODMAN}/container", memory_max="64\n")
    assert host.view().containers[0].cgroup.memory == Memory(max_bytes=64)
    (host.root / f"cg{PODMAN}/container").rename(host.root / "old")
    assert host.view().containers[0].cgroup.memory == Memory(max_bytes=float("inf"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/docker/{A}", 0),
        (POD, 1),
        (f"{PODMAN}/container", 1),
        ("/machine.slice/machine-web.scope/payload", 1),
        ("/", 2),
        ("/system.slice", 2),
        (f"/docker/{A}/container", None),
        (f"{PODMAN}/container/container", None),
        ("/system.slice/x.service/y", 3),
        ("/system.slice/x.service/y/z", None),
        ("/user.slice/user@1000.service/app.slice", None),
        ("/system.slice/var.mount", None),
    ],
)
def test_rank(path: str, expected: int | None) -> None:
    """Containers are read first, then pods and payloads, then the rest; some not at all."""
    assert rank(path) == expected


@pytest.mark.parametrize(
    ("path", "owns"),
    [
        (f"/docker/{A}", True),
        (f"/docker/{A}/x/y", True),
        ("/system.slice/sshd.service", True),
        ("/user.slice/user-1000.slice/session-1.scope", True),
        (f"{USER}/user.slice", True),
        ("/", False),
        ("/system.slice", False),
        ("/docker", False),
        (POD, False),
        ("/lab", False),
    ],
)
def test_owner_of_what_is_below(path: str, owns: bool) -> None:
    """In a container, service or scope cgroups may be made by those who run there."""
    assert owns_below(path) is owns


def legacy(root: Path, *names: str) -> Hierarchies:
    """A v1 host with these controllers."""
    trees = {
        name: Hierarchy(f"{root}/{name}", "/", frozenset({name}), unified=False) for name in names
    }
    return Hierarchies(None, trees, f"{root}/proc")


def scanned(hierarchies: Hierarchies, scans: int = 1) -> View:
    """What is seen of a host in the last of some scans."""
    scanner, correlator = Scanner(hierarchies, rank=rank), Correlator(hierarchies)
    for _ in range(scans - 1):
        correlator.correlate(scanner.scan())
    return correlator.correlate(scanner.scan())


def nested_process(pid: int) -> dict[str, str]:
    """A container's process."""
    return {
        f"proc/{pid}/stat": f"{pid} (sh) S{' 0' * 18} 50 0\n",
        f"proc/{pid}/status": f"NSpid:\t{pid}\t1\n",
    }


@pytest.mark.parametrize("scans", [1, 2, 5])
def test_joined_across_hierarchies(lay: Lay, scans: int) -> None:
    """A container at another path in one hierarchy is one, by its process."""
    nested, top = f"/lab/x/docker/{A}", f"/docker/{A}"
    root = lay(
        {
            **nested_process(7),
            f"cpuacct{nested}/cgroup.procs": "7\n",
            f"cpuacct{nested}/cpuacct.usage": "1500000000\n",
            f"memory{top}/cgroup.procs": "7\n",
            f"memory{top}/memory.usage_in_bytes": "4096\n",
            f"pids{top}/cgroup.procs": "7\n",
            f"pids{top}/pids.current": "3\n",
        }
    )
    view = scanned(legacy(root, "cpuacct", "memory", "pids"), scans)
    (container,) = view.containers
    assert (container.cgroup.path, container.id) == (top, A[:12])  # it has two sections of three
    assert container.cgroup.cpu == Cpu(usage_seconds=1.5)
    assert container.cgroup.memory == Memory(current_bytes=4096)
    assert container.cgroup.pids == Pids(current=3)


def test_not_joined_without_process(lay: Lay) -> None:
    """Where no process proves it, two paths are two containers, each with its own name."""
    paths = f"/lab/x/docker/{A}", f"/docker/{A}"
    root = lay(
        {
            f"cpuacct{paths[0]}/cgroup.procs": "",
            f"memory{paths[1]}/cgroup.procs": "",
        }
    )
    view = scanned(legacy(root, "cpuacct", "memory"))
    assert containers(view) == {path: path for path in paths}


def test_pid_given_again(host: Host) -> None:
    """A PID that a dead process of one container had may be another container's.

    The first process of A exits while others of A live on; its PID goes to B. A's process is
    read again only when that is due.
    """
    pid = host.cgroup(f"/docker/{A}", NESTED)
    for _ in range(40):
        host.view()
    (host.root / f"cg/docker/{A}/cgroup.procs").write_text("90\n")
    host.process(90, NESTED)
    host.process(pid, NESTED, started=90)
    host.cgroup(f"/docker/{B}")
    (host.root / f"cg/docker/{B}/cgroup.procs").write_text(f"{pid}\n")
    assert containers(host.view()).keys() == {f"/docker/{A}", f"/docker/{B}"}


def captured(fixtures: Path, name: str) -> View:
    """A captured host."""
    return scanned(find(f"{fixtures}/{name}/sys/fs/cgroup", f"{fixtures}/{name}/proc"))


def test_captured_systemd_host(fixtures: Path) -> None:
    """Docker, Podman with and without root, nspawn and ctr side by side."""
    view = captured(fixtures, "v2-6.1-systemd")
    seen = [(c.place.runtime, c.name, c.id, c.place.pod_uid) for c in view.containers]
    pod = "c779faf11983c5bd16af1714862badabee81d1c56893ea9f363948a3993fa9ad"
    assert seen == [
        (None, None, "c-fs", None),
        (None, None, "ctr-c-sd.scope", None),
        ("docker", None, "13050a15f7a6", None),
        ("podman", None, "847ddf70a7e5", None),
        ("systemd-nspawn", "labm2", "", None),
        ("podman", None, "a36e0b7898b1", pod),
        ("docker", None, "3464e8c930a3", None),
        ("docker", None, "8714cc23d002", None),
        (None, None, "payload", None),  # nspawn --keep-unit, known by its namespaces
        ("podman", None, "0b63bb1b73d3", None),
    ]
    assert [each.uid for each in view.pods] == [pod]
    assert "/system.slice/lab-svc.service" in cgroups(view)
    by_id = {c.id: c.cgroup for c in view.containers}
    podman = by_id["847ddf70a7e5"]
    assert podman.cpu is not None
    assert (podman.cpu.limit_cores, podman.cpu.throttled_periods) == (0.3, 95)
    assert podman.memory is not None
    assert podman.memory.max_bytes == 67_108_864
    assert podman.pids is not None
    assert podman.pids.max == 60
    processes = [c.process for c in view.containers]
    assert [process and process.pid for process in processes] == (
        [1783, 1831, 825, 1226, 570, 1355, 689, 621, 567, 2260]
    )


def test_captured_node(fixtures: Path) -> None:
    """Each pod of a Kubernetes node has one sandbox, which is not published."""
    view = captured(fixtures, "v2-6.1-kubernetes")
    assert len(view.pods) == len(view.sandboxes) == len(view.containers) == 4
    for container in (*view.sandboxes, *view.containers):
        assert container.place.pod_path in {pod.cgroup.path for pod in view.pods}
    assert {c.id for c in view.sandboxes} == (
        {"5300e114efe0", "9590dbb08679", "35b390fec052", "118a2f81b37f"}
    )


def test_captured_hybrid_host(fixtures: Path) -> None:
    """Sections come from v1 controllers and from the v2 hierarchy, merged by path."""
    view = captured(fixtures, "hybrid-6.1-systemd")
    (docker,) = (c.cgroup for c in view.containers if c.id == "7d655113186c")
    assert docker.memory is not None
    assert docker.memory.max_bytes == 67_108_864
    assert docker.pressure is not None
    assert docker.core is not None
    assert docker.core.populated == 1
    assert docker.core.frozen == 0


def snapshot(paths: Iterable[str]) -> Snapshot:
    """A snapshot of cgroups that have nothing but a path."""
    found = {path: Cgroup(path, n, leaf=True) for n, path in enumerate(sorted(paths))}
    return Snapshot(
        started=0.0,
        duration_seconds=0.0,
        mode=Mode.UNIFIED,
        cgroups=found,
        devices={},
        files={},
        parse_errors={},
        skipped=0,
        dropped=0,
    )


def closed(paths: Collection[str]) -> set[str]:
    """The paths and their ancestors, without which they cannot be."""
    return {"/"} | {
        path[:end]
        for path in paths
        for end in range(1, len(path) + 1)
        if end == len(path) or path[end] == "/"
    }


NAMES = st.sampled_from(
    [
        *("docker", A, B, f"docker-{A}.scope", f"docker-{B}.scope", f"libpod-{A}.scope"),
        *("container", "payload", "machine-web.scope", "lxc.payload.web", "runc-web.scope"),
        *("system.slice", "x.service", "kubepods", "burstable", "pod1234", "web", "web-2"),
        *("kubepods.slice", POD.rpartition("/")[2], f"crio-{A}", f"cri-containerd-{C}.scope"),
    ]
)
PATHS = st.sets(st.lists(NAMES, min_size=1, max_size=6).map(lambda names: "/" + "/".join(names)))
NOWHERE = Hierarchies(None, {}, "/none")


@given(PATHS)
def test_any_tree(paths: set[str]) -> None:
    """Whatever cgroups a host has: each is in one list at most, under a name of its own."""
    view = Correlator(NOWHERE).correlate(snapshot(closed(paths)))
    published = [c.cgroup.path for c in (*view.containers, *view.sandboxes)]
    published += [pod.cgroup.path for pod in view.pods]
    published += cgroups(view)
    assert len(published) == len(set(published))
    names = [(c.name, c.id) for c in view.containers]
    assert len(names) == len(set(names))
    assert len({pod.uid for pod in view.pods}) == len(view.pods)
    for each in view.containers:
        assert not any(other.startswith(f"{each.cgroup.path}/") for other in containers(view))
    assert cgroups(view) == sorted(cgroups(view))


@given(PATHS, PATHS)
def test_nothing_is_left_of_other_trees(before: set[str], now: set[str]) -> None:
    """What was seen in the last scan has no influence on what is seen in this one."""
    correlator = Correlator(NOWHERE)
    correlator.correlate(snapshot(closed(before)))
    taken = snapshot(closed(now))
    expected = Correlator(NOWHERE).correlate(taken)
    assert correlator.correlate(taken) == expected


@given(PATHS, st.data())
def test_others_samples_of_the_same_cgroups(paths: set[str], data: st.DataObject) -> None:
    """What stays from scan to scan never shows: not of samples, and not of what was told."""
    correlator = Correlator(NOWHERE)
    taken = snapshot(closed(paths))
    told: dict[tuple[str, int], Facts] = {}
    for number in range(4):
        changed = data.draw(st.sets(st.sampled_from(sorted(taken.cgroups))))
        cgroups = {
            path: cgroup.changed(cpu=Cpu(limit_cores=number)) if path in changed else cgroup
            for path, cgroup in taken.cgroups.items()
        }
        taken = replace(taken, cgroups=cgroups)
        if data.draw(st.booleans()):
            path = data.draw(st.sampled_from(sorted(cgroups)))
            told = {**told, (path, cgroups[path].inode): Facts(name=f"web-{number}")}
        assert correlator.correlate(taken, told) == Correlator(NOWHERE).correlate(taken, told)


def test_who_did_not_change_is_the_same_object() -> None:
    """So that who renders a view need not look at it again."""
    correlator = Correlator(NOWHERE)
    paths = [f"/docker/{B}", f"/docker/{C}", f"{PODMAN}/container", POD]
    taken = snapshot(closed(paths))
    before = correlator.correlate(taken)
    cgroups = {**taken.cgroups, paths[0]: taken.cgroups[paths[0]].changed(cpu=Cpu())}
    now = correlator.correlate(replace(taken, cgroups=cgroups))
    same = {c.cgroup.path: c is last for c, last in zip(now.found, before.found, strict=True)}
    assert same == {paths[0]: False, paths[1]: True, PODMAN: True}
    assert now.pods[0] is before.pods[0]


def test_merging_io_limits() -> None:
    """Podman's I/O limits are on the cgroup below the container's; the stricter of both acts."""
    inner = f"{PODMAN}/container"
    taken = snapshot(closed([inner]))
    inf = float("inf")
    outer = replace(
        taken.cgroups[PODMAN], io_limits=(DeviceLimits("8:0", inf, 5.0, inf, inf, 100),)
    )
    limits = (DeviceLimits("8:0", 1.0, 9.0, inf, None), DeviceLimits("8:16", 2.0, inf, inf, inf))
    payload = replace(taken.cgroups[inner], io_limits=limits)
    for above, expected in (
        (outer, (DeviceLimits("8:0", 1.0, 5.0, inf, inf, 100), limits[1])),
        (taken.cgroups[PODMAN], limits),
    ):
        cgroups = {**taken.cgroups, PODMAN: above, inner: payload}
        (container,) = Correlator(NOWHERE).correlate(replace(taken, cgroups=cgroups)).containers
        assert container.cgroup.io_limits == expected


def test_merging_keeps_the_outer_sections() -> None:
    """Sections that no limit is in are the outer cgroup's, also where the payload has none."""
    inner = f"{PODMAN}/container"
    taken = snapshot(closed([inner]))
    outer = replace(taken.cgroups[PODMAN], core=Core(populated=1), cpu=Cpu(usage_seconds=1.0))
    payload = replace(taken.cgroups[inner], core=Core(populated=0))
    taken = replace(taken, cgroups={**taken.cgroups, PODMAN: outer, inner: payload})
    (container,) = Correlator(NOWHERE).correlate(taken).containers
    assert container.cgroup == outer
