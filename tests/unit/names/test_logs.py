"""The kubelet's log links."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.correlate.paths import classify
from cgexporter.names import SYSTEM, Wanted
from cgexporter.names.door import Door
from cgexporter.names.logs import Logs

UID = "65d065af-ae73-47db-b13a-2485901d6eb7"
ID = "118a2f81b37fedd14ef5c3307c2f6b51ce00e5ab2784953ef6b29b84f2ac4600"


def wanted(container_id: str = ID, uid: str = UID) -> Wanted:
    """A container of a pod."""
    path = f"/kubepods.slice/kubepods-pod{uid.replace('-', '_')}.slice/cri-containerd-"
    path += f"{container_id}.scope"
    return Wanted((path, 1), classify(path), False, SYSTEM)


def link(root: Path, pod: str, namespace: str, container: str, **more: str) -> Path:
    """Make a link as the kubelet does; `more` has another ID, UID, target or restart count."""
    directory = root / "var/log/containers"
    directory.mkdir(parents=True, exist_ok=True)
    id_, uid = more.get("id", ID), more.get("uid", UID)
    restarts = more.get("restarts", "0")
    name = f"{pod}_{namespace}_{container}-{id_}"[:251] + ".log"
    target = f"/var/log/pods/{namespace}_{pod}_{uid}/{container}/{restarts}.log"
    (directory / name).symlink_to(more.get("target", target))
    return directory / name


def test_a_link_names_its_container(tmp_path: Path) -> None:
    """Names, UID and restart count come from a name and where it points."""
    link(tmp_path, "cart-0", "shop", "app-main", restarts="3")
    want = wanted()
    facts = Logs(Door(str(tmp_path))).find([want])[want.key].facts
    assert (facts.namespace, facts.pod, facts.name) == ("shop", "cart-0", "app-main")
    assert (facts.pod_uid, facts.restart_count, facts.sandbox) == (UID, 3, False)


@pytest.mark.parametrize("length", range(150, 180))
def test_cut_names(tmp_path: Path, length: int) -> None:
    """A name cut inside the ID still tells; cut before it, it fits several containers: none."""
    pod = "p" * length
    link(tmp_path, pod, "shop", "app-deadbeef")
    link(tmp_path, pod, "shop", "app", id="f" * 64)
    want = wanted()
    told = Logs(Door(str(tmp_path))).find([want])
    digits = 251 - length - len("_shop_app-deadbeef-")
    assert bool(told) == (digits > 0)
    if told:
        assert told[want.key].facts.name == "app-deadbeef"
        assert told[want.key].facts.pod == pod


def test_a_cut_name_of_another_pod(tmp_path: Path) -> None:
    """A prefix of an ID proves nothing where the pod is another."""
    link(tmp_path, "p" * 200, "shop", "app", uid="00000000-0000-0000-0000-000000000000")
    assert not Logs(Door(str(tmp_path))).find([wanted()])


def test_two_cut_names_that_fit(tmp_path: Path) -> None:
    """Two containers whose IDs begin alike, cut there: neither is guessed."""
    pod = "p" * (251 - len("_shop_a-") - 2)
    link(tmp_path, pod, "shop", "a", id="11" + "0" * 62)
    link(tmp_path, pod, "shop", "b", id="11" + "1" * 62)
    assert not Logs(Door(str(tmp_path))).find([wanted()])


@given(st.lists(st.text(string.printable, min_size=1).filter(lambda s: "/" not in s), max_size=3))
def test_where_a_link_points_is_only_text(targets: list[str]) -> None:
    """A link that points elsewhere tells what its name tells, and is never followed."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for number, target in enumerate(targets):
            link(root, f"p{number}", "shop", "app", id=f"{number:064x}", target=target)
        wants = [wanted(f"{number:064x}") for number in range(len(targets))]
        told = Logs(Door(str(root))).find(wants)
        for number, want in enumerate(wants):
            assert told[want.key].facts.pod == f"p{number}"
            assert told[want.key].facts.pod_uid is None


def test_no_directory(tmp_path: Path) -> None:
    """A host without Kubernetes has no links, which is no problem."""
    source = Logs(Door(str(tmp_path)))
    assert not source.find([wanted()])
    assert not source.problems()
    assert not source.denied()
