"""What a manifest becomes, against captured kubelets and Kubernetes' own rules."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from cgexporter.resources.documents import read
from cgexporter.resources.kubernetes import Node, explain
from cgexporter.resources.manifest import Pod, Role, pods, total
from cgexporter.resources.qos import oom_score, qos
from cgexporter.resources.settings import ExplainError, Explanation, Group
from tests.tools.kubelet_pods import PODS, compare, manifest

GUEST = 2_989_808 * 1024  # MemTotal of the captured nodes


def one(text: str) -> Pod:
    """The only pod of some text."""
    (pod,), _ = pods(read(text.encode()))
    return pod


def pod(**containers: str) -> Pod:
    """A pod of containers with these resources."""
    lines = [f"  - {{name: {name}, resources: {what}}}" for name, what in containers.items()]
    return one("kind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n" + "\n".join(lines))


def files(group: Group, version: str) -> Mapping[str, str]:
    """What the files of one cgroup say; with alternatives, what older runtimes write."""
    lines = [line for s in group.settings for line in (s.v1 if version == "v1" else s.v2)]
    return {line.file: line.value for line in lines}


def group(explanation: Explanation, name: str) -> Group:
    """The cgroup with a name."""
    (found,) = [g for g in explanation.groups if g.name == name]
    return found


_GUAR = "{requests: {cpu: 200m, memory: 64Mi}, limits: {cpu: 200m, memory: 64Mi}}"
_BURST = "{requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 300m, memory: 96Mi}}"


@pytest.mark.parametrize(
    ("tree", "capture", "containers"),
    [
        ("v2-6.1-static-pods", "kube-guar-lab", {"main": _GUAR}),
        ("v2-6.1-static-pods", "kube-burst-lab",
         {"main": _BURST, "side": "{requests: {cpu: 10m, memory: 8Mi}}"}),
        ("v2-6.1-static-pods", "kube-beste-lab", {"main": "{}"}),
        ("v2-6.1-kubernetes", "kube-guar-5c9f56c79d-j4zbl", {"main": _GUAR}),
        ("v2-6.1-kubernetes", "kube-burst-786f948c54-fpn8t", {"main": _BURST}),
        ("v2-6.1-kubernetes", "kube-beste-6b9fddf4cd-fpvjn", {"main": "{}"}),
    ],
)  # fmt: skip
def test_captured_pods(fixtures: Path, tree: str, capture: str, containers: dict[str, str]) -> None:
    """Each predicted file of a captured pod and its containers says what the kubelet made."""
    root = fixtures / tree
    places: dict[str, str] = {}
    uid = ""
    for line in (root / "NOTE.md").read_text().splitlines():
        if found := re.match(rf"\| {capture}\.(\w+) \|.*\| `(\S+)` \|$", line):
            if found[1] != "POD":
                places[found[1]] = found[2]
            uid = re.findall(r"pod([0-9a-f_]+)\.slice", found[2])[-1].replace("_", "-")
    assert places.keys() == containers.keys()
    text = f"kind: Pod\nmetadata: {{name: p, uid: {uid}}}\nspec:\n  containers:\n"
    text += "".join(f"  - {{name: {n}, resources: {r}}}\n" for n, r in containers.items())

    def captured(path: str, name: str) -> str | None:
        file = root / "sys/fs/cgroup" / path.lstrip("/") / name
        return file.read_text() if file.exists() else None

    score = ("/proc/PID/oom_score_adj",)
    compared, wrong = compare(one(text), places, captured, memory=GUEST, leave_out=score)
    assert not wrong
    of_tier = 1 if "besteffort" in places["main"] else 0
    assert compared == of_tier + 3 + 5 * len(containers)


def test_captured_scores(fixtures: Path) -> None:
    """OOM scores are those that the captured kubelet gave."""
    both = pod(main=_BURST, side="{requests: {cpu: 10m, memory: 8Mi}}")
    scores = {oom_score(both, c, GUEST) for c in both.containers}
    scores |= {oom_score(p, p.containers[0], GUEST) for p in (pod(m=_GUAR), pod(m="{}"))}
    proc = fixtures / "v2-6.1-static-pods/proc"
    captured = {file.read_text().strip() for file in proc.glob("*/oom_score_adj")}
    assert scores == {"990", "998", "-997", "1000"}
    assert scores <= captured


@pytest.mark.parametrize(
    ("containers", "kind", "why"),
    [
        ({"a": "{}"}, "BestEffort", "no container has"),
        ({"a": "{requests: {cpu: 0}}"}, "BestEffort", "no container has"),
        ({"a": "{limits: {hugepages-2Mi: 2Mi}}"}, "BestEffort", "no container has"),
        ({"a": "{limits: {cpu: 1, memory: 1Gi}}"}, "Guaranteed", "requests equal limits"),
        ({"a": "{limits: {cpu: 1000m, memory: 1Gi}, requests: {cpu: 1, memory: 1024Mi}}"},
         "Guaranteed", "requests equal limits"),
        ({"a": "{limits: {cpu: 1, memory: 1Gi}}", "b": "{}"},
         "Burstable", "container b has no cpu limit, and 1 more"),
        ({"a": "{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}"},
         "Burstable", "container a requests less cpu than its limit"),
        ({"a": "{limits: {memory: 1Gi}}"}, "Burstable", "container a has no cpu limit"),
    ],
)  # fmt: skip
def test_classes(containers: dict[str, str], kind: str, why: str) -> None:
    """The QoS class follows from all containers, and the reason names the first that decides."""
    found, reason = qos(pod(**containers))
    assert (found.value, reason.startswith(why)) == (kind, True)


def test_pod_as_a_whole_decides_its_class() -> None:
    """With resources of its own, a pod's containers do not count for its class."""
    said = one(
        "kind: Pod\nspec: {resources: {limits: {cpu: 1, memory: 1Gi}}, containers: [{name: a}]}"
    )
    assert qos(said)[0].value == "Guaranteed"
    explained = explain(said, Node())
    inner = files(group(explained, "container a"), "v2")
    assert inner["cpu.max"] == "100000 100000"
    assert inner["memory.max"] == str(2**30)
    assert files(group(explained, "the pod"), "v2")["memory.max"] == str(2**30)


def test_quota_that_systemd_rounds() -> None:
    """Of a limit that is no whole hundredth of a CPU, who rounds it is told."""
    explained = explain(pod(a="{limits: {cpu: 123m}}"), Node())
    for name, rounds in (("the pod", "Kubernetes >= 1.35"), ("container a", "runc >= 1.3.2")):
        (setting,) = [
            one
            for one in group(explained, name).settings
            if any(line.file == "cpu.max" for line in one.v2)
        ]
        rounded, exact = setting.v2
        assert (rounded.value, exact.value) == ("13000 100000", "12300 100000")
        assert rounds in rounded.when
        assert {line.value for line in setting.v1} == {"100000", "13000", "12300"}


def test_sums() -> None:
    """Sidecars add up with containers; of moments with init containers the greatest counts."""
    said = one(
        """
        kind: Pod
        spec:
          overhead: {cpu: 50m, memory: 1Mi}
          initContainers:
          - {name: i, resources: {requests: {cpu: 300m}}}
          - {name: s, restartPolicy: Always, resources: {requests: {cpu: 100m, memory: 10Mi}}}
          - {name: j, resources: {requests: {cpu: 450m, memory: 5Mi}}}
          containers:
          - {name: a, resources: {requests: {cpu: 200m, memory: 30Mi}}}
          - {name: b, resources: {requests: {cpu: 200m, memory: 1500u}}}
        """
    )
    requests = total(said, "requests")
    assert requests["cpu"] == 11 * requests["cpu"].__class__(1, 20)  # 450m + 100m
    facts = explain(said, Node()).facts
    assert facts["sum of requests"] == "cpu 600m, memory 42991617"
    assert facts["sum of limits"] == "none"
    assert [c.role for c in said.containers[:3]] == [Role.INIT, Role.SIDECAR, Role.INIT]


def test_limits_of_the_pod_need_all_containers() -> None:
    """One container without a limit leaves the pod without one, and is named."""
    explained = explain(pod(a=_BURST, b="{limits: {memory: 1Gi}}"), Node())
    whole = group(explained, "the pod")
    assert files(whole, "v2")["cpu.max"] == "max 100000"
    assert files(whole, "v2")["memory.max"] == str(2**30 + 96 * 2**20)
    assert any("container b has none" in setting.asked for setting in whole.settings)
    assert group(explained, "container a").limits == {"cpu": "0.3", "memory": str(96 * 2**20)}
    assert group(explained, "container b").limits["memory"] == str(2**30)


def test_both_versions_and_both_weights() -> None:
    """Containers' weights depend on the runtime, pods' on the kubelet; v1 needs no conversion."""
    explained = explain(pod(a="{requests: {cpu: 1}}"), Node())
    inner, whole = group(explained, "container a"), group(explained, "the pod")
    assert [line.value for line in inner.settings[0].v2] == ["100", "39"]
    assert files(whole, "v2")["cpu.weight"] == "39"
    assert files(whole, "v1")["cpu.shares"] == files(inner, "v1")["cpu.shares"] == "1024"
    assert files(inner, "v1")["cpu.cfs_quota_us"] == "-1"


def test_hugepages() -> None:
    """Huge pages are limited by size as the kernel names it."""
    explained = explain(pod(a="{limits: {hugepages-2Mi: 4Mi, hugepages-1Gi: 1Gi, cpu: 1}}"), Node())
    for name in ("the pod", "container a"):
        found = files(group(explained, name), "v2")
        assert found["hugetlb.2MB.max"] == str(4 * 2**20)
        assert found["hugetlb.1GB.max"] == str(2**30)


def test_memory_qos_is_off() -> None:
    """The feature that would set memory.min and memory.high is said to be off, with the values."""
    (setting,) = [
        s
        for s in group(explain(pod(a=_BURST), Node()), "container a").settings
        if s.asked == "requests.memory: 32Mi"
    ]
    assert not setting.v1
    assert not setting.v2
    assert "off by default" in setting.note
    # floor((32 Mi + 0.9 * 64 Mi) / 4096) * 4096
    assert "memory.min = 33554432, memory.high = 93949952" in setting.note


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("{name: a}", "1000"),
        ("{name: a, resources: {requests: {cpu: 1}}}", "999"),
        ("{name: a, resources: {requests: {memory: 100}}}", "900"),
        ("{name: a, resources: {requests: {memory: 999}}}", "3"),
        ("{name: a, resources: {requests: {memory: 5000}}}", "3"),
        ("{name: a, resources: {limits: {memory: 5, cpu: 1}}}", "-997"),
    ],
)
def test_scores(text: str, score: str) -> None:
    """Burstable containers' scores fall with the part of the node they request."""
    said = one(f"kind: Pod\nspec: {{containers: [{text}]}}")
    assert oom_score(said, said.containers[0], 1000) == score


def test_scores_of_special_pods() -> None:
    """Critical pods go last, sidecars not before those they serve; spare requests are shared."""
    critical = one("kind: Pod\nspec: {priorityClassName: system-node-critical, "
                   "containers: [{name: a}]}")  # fmt: skip
    assert oom_score(critical, critical.containers[0], 1000) == "-997"
    served = one(
        "kind: Pod\nspec:\n  initContainers: [{name: s, restartPolicy: Always}]\n"
        "  containers: [{name: a, resources: {requests: {memory: 300}}}]"
    )
    assert [oom_score(served, c, 1000) for c in served.containers] == ["700", "700"]
    spare = one(
        "kind: Pod\nspec:\n  resources: {requests: {memory: 500}}\n"
        "  containers: [{name: a, resources: {requests: {memory: 300}}}, {name: b}]"
    )
    assert [oom_score(spare, c, 1000) for c in spare.containers] == ["600", "900"]
    assert oom_score(spare, spare.containers[0], None).startswith("1000 - 1000 x 400 /")


_JOB = "{kind: Job, spec: {template: {spec: {containers: [{name: a}]}}}}"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Deployment", "spec: {template: {spec: {containers: [{name: a}]}}}"),
        ("CronJob", "spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a}]}}}}}"),
        ("PodTemplate", "template: {spec: {containers: [{name: a}]}}"),
        ("PodList", "items: [{kind: Pod, spec: {containers: [{name: a}]}}]"),
        ("List", f"items: [{{kind: List, items: [{_JOB}]}}, {{kind: Service}}]"),
    ],
)  # fmt: skip
def test_kinds(kind: str, body: str) -> None:
    """A pod is found in whatever makes one."""
    found, _ = pods(read(f"kind: {kind}\n{body}".encode()))
    assert len(found) == 1


def test_documents_and_other_kinds() -> None:
    """All documents are read; kinds without pods are told, empty ones are not."""
    text = b"---\n---\nkind: Service\n---\nkind: Pod\nspec: {containers: [{name: a}]}\n---\n# end\n"
    found, others = pods(read(text))
    assert len(found) == 1
    assert others == ["Service"]


def test_paths_with_a_uid() -> None:
    """A pod's UID is part of its path as each driver spells it."""
    uid = "65d065af-ae73-47db-b13a-2485901d6eb7"
    said = explain(one(f"kind: Pod\nmetadata: {{uid: {uid}}}\nspec: {{containers: [{{name: a}}]}}"),
                   Node())  # fmt: skip
    whole = group(said, "the pod")
    assert whole.cgroupfs == f"/kubepods/besteffort/pod{uid}"
    assert whole.systemd.endswith(f"/kubepods-besteffort-pod{uid.replace('-', '_')}.slice")


def test_namespaces() -> None:
    """Namespaces follow from the pod's host* fields."""
    shared = "hostNetwork: true, hostPID: true, hostUsers: false, containers: [{name: a}]"
    kinds = explain(one(f"kind: Pod\nspec: {{{shared}}}"), Node()).namespaces
    assert (kinds["net"], kinds["pid"], kinds["uts"]) == ("the host's",) * 3
    assert kinds["user"] == "the pod's"
    whole = one("kind: Pod\nspec: {shareProcessNamespace: true, containers: [{name: a}]}")
    assert explain(whole, Node()).namespaces["pid"] == "the pod's"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a", "no mapping"),
        ("- a", "no mapping"),
        ("spec: {}", "kind: is missing"),
        ("kind: Pod", "spec: is missing"),
        ("kind: Pod\nspec: {}", "has no container"),
        ("kind: Pod\nspec: {containers: {}}", "spec.containers: is no list"),
        ("kind: Pod\nspec: {containers: [a]}", "spec.containers[0]: is no mapping"),
        ("kind: Pod\nspec: {containers: [{}]}", "spec.containers[0].name: is missing"),
        ("kind: Pod\nspec: {containers: [{name: A}]}", "is no name"),
        ("kind: Pod\nspec: {containers: [{name: a}, {name: a}]}", "two containers"),
        ("kind: Pod\nspec: {hostPID: 1, containers: [{name: a}]}", "spec.hostPID"),
        ("kind: List\nitems: [{kind: Pod, spec: 5}]", "items[0].spec: is no mapping"),
    ],
)
def test_bad_manifests(text: str, where: str) -> None:
    """What is wrong with a manifest is said with its place."""
    with pytest.raises(ExplainError, match=re.escape(where)):
        pods(read(text.encode()))


@pytest.mark.parametrize(
    ("resources", "why"),
    [
        ("5", "is no mapping"),
        ("{limits: {cpu: x}}", "limits.cpu: 'x' is no quantity"),
        ("{limits: {cpu: [1]}}", "limits.cpu: this is no quantity"),
        ("{limits: {cpu: null}}", "is no quantity"),
        ("{limits: {cpu: 1:30}}", "'1:30' is no quantity"),
        ("{limits: {cpu: -1}}", "is below 0"),
        ("{limits: {cpu: 1}, requests: {cpu: 1001m}}", "requests.cpu: is more than its limit"),
        ("{requests: {hugepages-2Mi: 2Mi}}", "must equal its limit"),
        ("{limits: {hugepages-x: 2Mi}}", "names no page size"),
    ],
)
def test_bad_resources(resources: str, why: str) -> None:
    """A quantity that the API server refuses is refused, with its place."""
    with pytest.raises(ExplainError, match=re.escape(why)):
        pod(a=resources)


@pytest.mark.parametrize(
    ("own", "containers", "why"),
    [
        ("{limits: {nvidia.com/gpu: 1}}", "[{name: a}]", "is not for a whole pod"),
        ("{requests: {cpu: 1}, limits: {cpu: 500m}}", "[{name: a}]", "more than its limit"),
        ("{requests: {cpu: 1}}", "[{name: a, resources: {requests: {cpu: 2}}}]", "is less than"),
        ("{limits: {cpu: 1}}", "[{name: a, resources: {limits: {cpu: 2}, requests: {cpu: 1}}}]",
         "less than the limit of container a"),
    ],
)  # fmt: skip
def test_bad_resources_of_the_pod(own: str, containers: str, why: str) -> None:
    """A pod's own resources must hold its containers'."""
    with pytest.raises(ExplainError, match=re.escape(why)):
        one(f"kind: Pod\nspec: {{resources: {own}, containers: {containers}}}")


@pytest.mark.parametrize("name", PODS)
def test_manifests_of_the_lab(name: str) -> None:
    """Each pod that the lab starts is understood, and no file is predicted twice."""
    said = explain(one(manifest(name, "lab:1")), Node(2**32))
    assert len(said.groups) >= 3
    for each in said.groups:
        for version in ("v1", "v2"):
            settings = [s.v1 if version == "v1" else s.v2 for s in each.settings]
            names = [line.file for lines in settings for line in lines if not line.when]
            assert len(names) == len(set(names))
