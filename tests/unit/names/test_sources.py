"""What each runtime's files tell."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from cgexporter.correlate.facts import NOTHING
from cgexporter.correlate.view import View
from cgexporter.publish import container_info
from tests.tools.bolt import Tree
from tests.tools.hosts import Host, container, docker, hex_id

UID = "65d065af-ae73-47db-b13a-2485901d6eb7"
POD = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice"


def container_of(image: str, **labels: str) -> Tree:
    """A container in containerd's database."""
    return {"image": image, "labels": labels, "spec": "env SECRET=x"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """An empty host."""
    return Host(tmp_path)


def test_docker(host: Host) -> None:
    """Name, image, restarts, Compose and the labels asked for, no other."""
    id_ = hex_id("web")
    host.cgroup(docker("web"))
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    host.docker(id_, "shop-web-1", Labels={**labels, "team": "a", "secret": "b"})
    found = container(host.view(labels=frozenset({"team"})), docker("web"))
    info = dict(container_info(found))
    assert found.name == "shop-web-1"
    assert info["container_id"] == f"docker://{id_}"
    assert (info["image"], info["restart_count"]) == ("lab:1", "2")
    assert (info["compose_project"], info["compose_service"]) == ("shop", "web")
    assert info["label_team"] == "a"
    assert "label_secret" not in info
    assert found.facts.namespace is None


def test_a_stopped_docker_container(host: Host) -> None:
    """Docker keeps files of stopped containers; a cgroup with their ID is something else."""
    host.cgroup(docker("web"))
    file = host.docker(hex_id("web"), "web")
    file.write_text(file.read_text().replace("true", "false"))
    assert container(host.view(), docker("web")).name is None


def test_docker_under_a_parent(host: Host) -> None:
    """A path that proves no runtime gets it from the source that knows."""
    path = f"/lab/{hex_id('web')}"
    host.cgroup(path)
    host.docker(hex_id("web"), "web")
    found = container(host.view(), path)
    assert (found.name, found.runtime) == ("web", "docker")


def test_cri_dockerd(host: Host) -> None:
    """Under Kubernetes, labels say what Docker's made-up names stand for."""
    path = f"{POD}/docker-{hex_id('app')}.scope"
    host.cgroup(path)
    host.cgroup(f"{POD}/docker-{hex_id('pause')}.scope")
    about = {"io.kubernetes.pod.name": "cart-0", "io.kubernetes.pod.namespace": "shop"}
    about["io.kubernetes.pod.uid"] = UID
    app = {"io.kubernetes.container.name": "app", "io.kubernetes.docker.type": "container"}
    pause = {"io.kubernetes.container.name": "POD", "io.kubernetes.docker.type": "podsandbox"}
    host.docker(hex_id("app"), f"k8s_app_cart-0_shop_{UID}_0", Labels={**about, **app})
    host.docker(hex_id("pause"), f"k8s_POD_cart-0_shop_{UID}_0", Labels={**about, **pause})
    view = host.view()
    (found,) = view.containers
    assert (found.facts.namespace, found.facts.pod, found.name) == ("shop", "cart-0", "app")
    assert [s.cgroup.path for s in view.sandboxes] == [f"{POD}/docker-{hex_id('pause')}.scope"]


def test_labels_of_another_pod(host: Host) -> None:
    """Whoever starts a Docker container may label it; that makes it no part of a pod."""
    host.cgroup(docker("evil"))
    about = {"io.kubernetes.pod.name": "api", "io.kubernetes.pod.namespace": "kube-system"}
    labels = {**about, "io.kubernetes.pod.uid": UID, "io.kubernetes.container.name": "api"}
    labels["io.kubernetes.docker.type"] = "podsandbox"  # to be hidden
    host.docker(hex_id("evil"), "evil", Labels=labels)
    found = container(host.view(), docker("evil"))
    assert found.name == "evil"
    assert found.facts.namespace is None
    assert found.facts.pod is None


def test_runc_by_hand(host: Host) -> None:
    """The ID that its user chose is the name, at whatever path."""
    host.cgroup("/lab/c1", pid=7)
    host.process(7)
    host.runc("/run/runc", "mine", "/lab/c1")
    found = container(host.view(), "/lab/c1")
    assert (found.name, found.runtime, found.id) == ("mine", "runc", "c1")


def test_crun(host: Host) -> None:
    """Crun names the payload's cgroup below the container's."""
    host.cgroup("/user.slice/crun-mine.scope/container")
    host.write(
        "/run/crun/mine/status",
        {"pid": 7, "cgroup-path": "/user.slice/crun-mine.scope/container", "bundle": "/b"},
    )
    found = container(host.view(), "/user.slice/crun-mine.scope")
    assert (found.name, found.runtime) == ("mine", "crun")


def test_state_of_another_cgroup(host: Host) -> None:
    """State that names one cgroup tells nothing of another with the same ID."""
    host.cgroup("/system.slice/runc-a.scope")
    host.runc("/run/runc", "a", "/elsewhere/runc-a.scope")
    assert container(host.view(), "/system.slice/runc-a.scope").name is None


def test_containerd(host: Host) -> None:
    """Annotations of containerd's CRI plugin, from runc's state or the bundle."""
    about = {
        "io.kubernetes.cri.sandbox-name": "cart-0",
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-uid": UID,
    }
    app = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.image-name": "i:1"}
    app["io.kubernetes.cri.container-name"] = "app"
    pause = {"io.kubernetes.cri.container-type": "sandbox"}
    for name, more in (("app", app), ("pause", pause)):
        path = f"{POD}/cri-containerd-{hex_id(name)}.scope"
        host.cgroup(path)
        host.runc("/run/containerd/runc/k8s.io", hex_id(name), path, {**about, **more})
    host.cgroup(f"{POD}/cri-containerd-{hex_id('side')}.scope")
    tasks = "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io"
    side = {**about, **app, "io.kubernetes.cri.container-name": "side"}
    host.bundle(f"{tasks}/{hex_id('side')}", side, f"{POD[1:]}:cri-containerd:{hex_id('side')}")
    view = host.view()
    assert sorted((c.facts.namespace, c.facts.pod, c.name) for c in view.containers) == [
        ("shop", "cart-0", "app"),
        ("shop", "cart-0", "side"),
    ]
    assert {c.facts.image for c in view.containers} == {"i:1"}
    assert len(view.sandboxes) == 1
    (pod,) = view.pods
    assert (pod.facts.namespace, pod.facts.pod) == ("shop", "cart-0")


def test_crio(host: Host) -> None:
    """CRI-O's containers-storage, where only the sandbox knows the namespace; and its bundle."""
    app, sandbox = hex_id("app"), hex_id("sandbox")
    for id_ in (app, sandbox):
        host.cgroup(f"{POD}/crio-{id_}.scope")
    metadata = {"pod-name": "k8s_cart-0_shop_uid_0", "pod-id": sandbox, "image-name": "i:1"}
    own = {"metadata-name": "cart-0", "uid": UID, "namespace": "shop"}
    host.write(
        "/run/containers/storage/overlay-containers/volatile-containers.json",
        [
            {"id": sandbox, "metadata": json.dumps({**metadata, **own})},
            {
                "id": app,
                "names": ["k8s_app"],
                "metadata": json.dumps({**metadata, "metadata-name": "app"}),
            },
        ],
    )
    annotations = {
        "io.kubernetes.pod.name": "cart-0",
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.uid": UID,
        "io.kubernetes.container.name": "app",
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.container.restartCount": "4",
        "team": "a",
        "kubectl.kubernetes.io/last-applied-configuration": "has secrets",
    }
    directory = f"/run/containers/storage/overlay-containers/{app}/userdata"
    host.bundle(directory, annotations)
    view = host.view(labels=frozenset({"team"}))
    (found,) = view.containers
    assert (found.facts.namespace, found.facts.pod, found.name) == ("shop", "cart-0", "app")
    assert (found.facts.image, found.facts.restart_count) == ("i:1", 4)
    assert found.facts.labels == {"team": "a"}
    assert [s.facts.sandbox for s in view.sandboxes] == [True]


def test_podman(host: Host) -> None:
    """Podman's names and images are in containers-storage; a pod's infra container is none."""
    pod = f"/machine.slice/machine-libpod_pod_{hex_id('pod')}.slice"
    app, infra = hex_id("app"), hex_id("infra")
    for id_ in (app, infra):
        host.cgroup(f"{pod}/libpod-{id_}.scope/container")
    storage = "/var/lib/containers/storage/overlay-containers"
    host.write(
        f"{storage}/containers.json",
        [
            {
                "id": app,
                "names": ["app"],
                "metadata": json.dumps({"image-name": "lab:1", "name": "app"}),
            },
            {"id": infra, "names": ["x-infra"], "metadata": json.dumps({"image-name": "pause"})},
            {"id": hex_id("other"), "names": [], "metadata": "not JSON"},
        ],
    )
    kind = "io.kubernetes.cri-o.ContainerType"
    host.bundle(f"{storage}/{infra}/userdata", {"io.container.manager": "libpod", kind: "sandbox"})
    view = host.view()
    (found,) = view.containers
    assert (found.name, found.facts.image, found.runtime) == ("app", "lab:1", "podman")
    assert [s.cgroup.path for s in view.sandboxes] == [f"{pod}/libpod-{infra}.scope"]


def test_ctr(host: Host) -> None:
    """A container that ctr started has its image and labels from containerd's database."""
    host.cgroup("/default/web", 7)
    host.process(7)
    host.cgroup("/other/web", 8)
    host.process(8)
    host.containerd(
        {
            "default": {"web": container_of("lab:1", team="a"), "old": container_of("lab:0")},
            "moby": {"web": container_of("lab:2")},
        }
    )
    view = host.view(labels=frozenset({"team"}))
    found = container(view, "/default/web")
    assert (found.name, found.facts.image, found.runtime) == ("web", "lab:1", "containerd")
    assert found.facts.labels == {"team": "a"}
    assert container(view, "/other/web").facts == NOTHING


def test_one_id_in_two_namespaces(host: Host) -> None:
    """Where two containers have an ID and no path tells which it is, neither is told."""
    path = f"/system.slice/nerdctl-{hex_id('n')}.scope"
    host.cgroup(path)
    host.containerd({"a": {hex_id("n"): container_of("lab:1")}})
    assert container(host.view(), path).facts.image == "lab:1"
    one = {hex_id("n"): container_of("lab:1")}
    host.containerd({"a": one, "b": one})
    assert container(host.view(), path).facts.image is None


def test_a_damaged_database(host: Host) -> None:
    """It costs the names in it, and is counted; other sources go on."""
    host.cgroup("/default/web", 7)
    host.process(7)
    host.cgroup(docker("mine"))
    host.docker(hex_id("mine"), "mine")
    host.containerd({"default": {"web": container_of("lab:1")}}).write_bytes(b"x" * 9000)
    exporter = host.exporter()
    view = exporter.name(exporter.look())
    exporter.close()
    assert container(view, "/default/web").name is None
    assert container(view, docker("mine")).name == "mine"
    assert exporter.resolver.status.errors["containerd"] == 1


POD_CONFIG = {"id": hex_id("pod"), "name": "shop", "labels": {"team": "a"}}


def podman_pod(host: Host) -> tuple[str, str]:
    """A pod of one container, as systemd has them; their paths."""
    pod = f"/machine.slice/machine-libpod_pod_{hex_id('pod')}.slice"
    app = f"{pod}/libpod-{hex_id('app')}.scope"
    host.cgroup(f"{app}/container")
    return pod, app


def check_podman_pod(host: Host, pod: str, app: str) -> View:
    """Check its names."""
    view = host.view(labels=frozenset({"team"}))
    (found,) = view.pods
    assert (found.cgroup.path, found.facts.pod, found.facts.labels) == (pod, "shop", {"team": "a"})
    assert container(view, app).facts.pod == "shop"
    return view


def test_podman_4(host: Host) -> None:
    """Podman up to 4 keeps pods, and containers' names, images and labels in a bolt database."""
    pod, app = podman_pod(host)
    labels = {"team": "b", "io.kubernetes.pod.name": "forged", "io.podman.compose.project": "p"}
    spec = {"process": {"env": ["SECRET=x"]}}
    config = {"spec": spec, "name": "app", "rootfsImageName": "lab:1", "labels": labels}
    infra = {"spec": spec, "name": "x-infra", "isInfra": True}
    host.cgroup(f"{pod}/libpod-{hex_id('infra')}.scope")
    of_pod = {"pod-id": hex_id("pod")}
    host.libpod(
        {
            "ctr": {
                hex_id("app"): {"config": json.dumps(config), **of_pod},
                hex_id("infra"): {"config": json.dumps(infra), **of_pod},
            },
            "pod": {hex_id("pod"): {"config": json.dumps(POD_CONFIG)}},
        }
    )
    found = container(check_podman_pod(host, pod, app), app)
    assert (found.name, found.facts.image, found.runtime) == ("app", "lab:1", "podman")
    assert found.facts.labels == {"team": "b"}
    assert found.facts.compose_project == "p"
    assert [s.cgroup.path for s in host.view().sandboxes] == [
        f"{pod}/libpod-{hex_id('infra')}.scope"
    ]


def sql(host: Host, statements: str) -> None:
    """Make a `db.sql`."""
    file = host.write("/var/lib/containers/storage/libpod/db.sql", "")
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.executescript(statements)


def test_podman_5(host: Host) -> None:
    """Podman 5 keeps them in SQLite: libpod/sqlite_state_internal.go."""
    pod, app = podman_pod(host)
    sql(
        host,
        "CREATE TABLE PodConfig (ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL,"
        " JSON TEXT NOT NULL);"
        f"INSERT INTO PodConfig VALUES ('{hex_id('pod')}', 'shop', '{json.dumps(POD_CONFIG)}');",
    )
    check_podman_pod(host, pod, app)


@pytest.mark.parametrize(
    "statements",
    [
        """CREATE VIEW PodConfig AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT i AS ID, i AS Name, '' AS JSON FROM n;""",
        """CREATE TABLE Other (Secret); CREATE VIEW PodConfig AS
        SELECT Secret AS ID, Secret AS Name, '' AS JSON FROM Other;""",
        "CREATE TABLE Other (ID);",
    ],
    ids=["endless", "view", "no table"],
)
def test_hostile_sqlite(host: Host, statements: str) -> None:
    """A database of another form tells nothing and takes no time."""
    podman_pod(host)
    sql(host, statements)
    exporter = host.exporter()
    (found,) = exporter.name(exporter.look()).pods
    exporter.close()
    assert found.facts.pod is None
    assert exporter.resolver.status.errors["libpod"] == 1


def test_nobody_hides_outside_of_a_pod(host: Host) -> None:
    """An annotation that says sandbox hides no container that is in no pod."""
    path = f"/machine.slice/libpod-{hex_id('evil')}.scope"
    host.cgroup(path)
    kind = "io.kubernetes.cri-o.ContainerType"
    host.runc(
        "/run/runc", hex_id("evil"), path, {"io.container.manager": "libpod", kind: "sandbox"}
    )
    assert container(host.view(), path).runtime == "podman"


def test_nerdctl(host: Host) -> None:
    """Nerdctl writes the name it shows into annotations."""
    path = f"/system.slice/nerdctl-{hex_id('n')}.scope"
    host.cgroup(path)
    host.runc("/run/containerd/runc/default", hex_id("n"), path, {"nerdctl/name": "web"})
    found = container(host.view(), path)
    assert (found.name, found.runtime) == ("web", "containerd")


def test_other_places(host: Host) -> None:
    """--identity.state-root adds places, asked before the known ones."""
    host.cgroup(docker("web"))
    host.docker(hex_id("web"), "usual")
    host.write(
        f"/data/containers/{hex_id('web')}/config.v2.json",
        {"ID": hex_id("web"), "Name": "/mine", "State": {"Running": True}},
    )
    found = container(host.view(state_roots=[("docker", "/data")]), docker("web"))
    assert found.name == "mine"


def test_sources_can_be_switched_off(host: Host) -> None:
    """Without state there is no name from state."""
    host.cgroup(docker("web"))
    host.docker(hex_id("web"), "web")
    assert container(host.view(state=False), docker("web")).name is None
