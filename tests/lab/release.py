"""A cluster's node with pods on it, where the chart is installed."""

import contextlib
import json
import shlex
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import bcrypt
import yaml

from tests.image.built import archive
from tests.integration.seen import Sample, samples
from tests.lab import cluster, node_disk, upper_layers
from tests.lab.cluster import Lab
from tests.lab.image import image
from tests.lab.machine import recipe
from tests.lab.pods import MIB, SLEEP, Pod, PodContainer
from tests.lab.states import SCRIPTS
from tests.tools import cluster as control_plane
from tests.tools import programs
from tests.tools.cache import ROOT, digest, forget_others, making
from tests.tools.certificates import Authority
from tests.tools.toolbox import go_program, run

NAMESPACE, NAME = "monitoring", "cgexporter"
CHART = "helm/cgexporter"
# Of the web configuration, as curl takes it.
USER = "scraper:opensesame"
_PATIENCE_SECONDS = 300.0
_TIMEOUT = f"--timeout={_PATIENCE_SECONDS:.0f}s"
# Of each QoS class, of several containers, on the host's network.
PODS = (
    Pod("guaranteed", "Guaranteed", [PodContainer("main", SLEEP, 0.2, 0.2, 64 * MIB, 64 * MIB)]),
    Pod(
        "burstable",
        "Burstable",
        [
            PodContainer("main", SLEEP, 0.1, 0.3, 32 * MIB, 96 * MIB),
            PodContainer("side", SLEEP, 0.01, memory_request=8 * MIB),
        ],
        init=[PodContainer("first", "true")],
    ),
    Pod("onhost", "BestEffort", [PodContainer("main", SLEEP)], spec={"hostNetwork": True}),
)
# The kubelet has it from a file; its cgroup has another UID than its mirror in the API server.
STATIC = Pod("static", "Burstable", [PodContainer("main", SLEEP, 0.05)])
DEPLOYMENT = "web"
_MANIFEST = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": DEPLOYMENT, "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"app.kubernetes.io/name": DEPLOYMENT}},
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": DEPLOYMENT}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [PodContainer("main", SLEEP, 0.02, 0.5).manifest()],
            },
        },
    },
}
# What the chart's values for runtimes' state mount, of a Docker that is not there.
_DOCKERS = "/run/docker/runtime-runc /var/lib/docker/containers"
# Kinds of which objects come and go by themselves.
_RESTLESS = {"events", "events.events.k8s.io", "leases.coordination.k8s.io"}
# Where the node has something of a pod, by its UID.
_CGROUPS = "/sys/fs/cgroup/kubepods.slice"
_PLACES = f"{_CGROUPS} /var/lib/kubelet/pods /var/log/pods"


class Node:
    """The cluster, and helm for it."""

    def __init__(self, lab: Lab, repository: Path, home: Path) -> None:
        self.lab = lab
        self.repository = repository
        self._home = home
        # Of the exporter's pods that were removed.
        self.removed: set[str] = set()
        self._environment = {
            "KUBECONFIG": str(lab.kubeconfig),
            **{f"HELM_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")},
        }

    def helm(self, *words: str) -> str:
        """Run helm in the checkout; what it prints."""
        done = run(go_program("helm"), *words, cwd=self.repository, **self._environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, line: str) -> str:
        """Run a command line of the documents."""
        program, *words = line.split()
        return {"kubectl": self.lab.kubectl, "helm": self.helm}[program](*words)

    def pods(self, *words: str) -> list[dict[str, Any]]:
        """The node's pods as the API server knows them."""
        found: list[dict[str, Any]] = json.loads(
            self.lab.kubectl("get", "pods", *(words or ["-A"]), "-o", "json")
        )["items"]
        return found

    def rolled_out(self) -> dict[str, Any]:
        """The exporter's pod, once it is ready and of the last revision; it never restarted."""
        try:
            self.lab.kubectl("-n", NAMESPACE, "rollout", "status", f"daemonset/{NAME}", _TIMEOUT)
        except RuntimeError as failure:
            said = self.lab.kubectl("-n", NAMESPACE, "describe", "pods")
            raise AssertionError(f"{failure}\n{said}") from failure
        (pod,) = (
            each
            for each in self.pods("-n", NAMESPACE)
            if "deletionTimestamp" not in each["metadata"]
        )
        assert [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0]
        return pod

    def page(self, pod: Mapping[str, Any], *, until: str = "", user: str = "") -> list[Sample]:
        """What the exporter's pod serves, once it has a line with some text.

        Names are told from the second scan on.
        """
        (exporter,) = pod["spec"]["containers"]
        path = {word.partition("=")[0]: word.partition("=")[2] for word in exporter["args"]}.get(
            "--web.telemetry-path", "/metrics"
        )
        scheme = "https" if user or "--web.config.file" in str(exporter["args"]) else "http"
        url = f"{scheme}://{pod['status']['podIP']}:{exporter['ports'][0]['containerPort']}{path}"
        ask = f"curl -sSfk {shlex.join(('--user', user)) if user else ''} {shlex.quote(url)}"
        return samples(
            self.lab.guest.run(
                f"set -e; {ask} -o /dev/null; sleep 1; for _ in $(seq 30); do {ask} -o /tmp/page; "
                f"if grep -q {shlex.quote(until)} /tmp/page; then break; fi; done; cat /tmp/page"
            )
        )

    def process(self, pod: Mapping[str, Any]) -> str:
        """What the kernel says of the exporter's process."""
        (exporter,) = pod["status"]["containerStatuses"]
        scope = f"cri-containerd-{exporter['containerID'].rpartition('/')[2]}.scope"
        # A start of crictl takes seconds in a guest.
        first = f"$(head -qn 1 $(find {_CGROUPS} -name {scope})/cgroup.procs)"
        return self.lab.guest.run(f"cat /proc/{first}/status")

    def objects(self) -> set[str]:
        """All that the cluster has."""
        listed = self.lab.kubectl("api-resources", "--verbs=list", "-o", "name").split()
        kinds = ",".join(sorted(set(listed) - _RESTLESS))
        line = '{.kind} {.metadata.namespace} {.metadata.name}{"\\n"}'
        template = f"jsonpath={{range .items[*]}}{line}{{end}}"
        return set(self.lab.kubectl("get", kinds, "-A", "-o", template).splitlines())

    def settled(self) -> set[str]:
        """The same, once the namespace has what each one gets by itself."""
        for name in ("configmap/kube-root-ca.crt", "serviceaccount/default"):
            self.lab.kubectl("-n", NAMESPACE, "wait", "--for=create", name, "--timeout=60s")
        return self.objects()

    def prepare_web(self) -> None:
        """Give the namespace the Secret that `ci/web-config-values.yaml` names."""
        authority = Authority(self._home, "web")
        certificate, key = authority.issue("tls")
        name, _, password = USER.partition(":")
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        config = {
            "tls_server_config": {"cert_file": "tls.crt", "key_file": "tls.key"},
            "basic_auth_users": {name: hashed},
        }
        content = {
            "web-config.yml": yaml.safe_dump(config),
            "tls.crt": certificate.read_text(),
            "tls.key": key.read_text(),
        }
        named = {"name": "cgexporter-web", "namespace": NAMESPACE}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": content}
        self.lab.kubectl("apply", "-f", "-", stdin=json.dumps(secret))

    def gone(self, before: Collection[str]) -> None:
        """Wait until the cluster is as it was."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while changed := self.objects() ^ set(before):
            assert time.monotonic() < deadline, changed
            time.sleep(1)

    def left_of(self, uids: Collection[str]) -> str:
        """What the node still has of some pods, once the kubelet has had time to remove it.

        It does so once a minute.
        """
        names = " -o ".join(f"-name '*{uid}*' -o -name '*{uid.replace('-', '_')}*'" for uid in uids)
        look = f"find {_PLACES} {names}; grep -E '{'|'.join(uids)}' /proc/mounts || true"
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (found := self.lab.guest.run(look)) and time.monotonic() < deadline:
            time.sleep(5)
        return found


def _manifests() -> list[str]:
    return [*(pod.manifest() for pod in PODS), json.dumps(_MANIFEST)]


def _prepare(lab: Lab) -> None:
    """Let all pods run, and the node have what others would mount."""
    static = STATIC.manifest().encode()
    lab.guest.run(f"mkdir -p {_DOCKERS}; cat >/etc/kubernetes/manifests/static.json", stdin=static)
    for manifest in _manifests():
        lab.kubectl("apply", "-f", "-", stdin=manifest)
    lab.kubectl("rollout", "status", f"deployment/{DEPLOYMENT}", _TIMEOUT)
    lab.kubectl("wait", "pods", "--all", "-A", "--for=condition=Ready", _TIMEOUT)
    assert len(json.loads(lab.kubectl("get", "pods", "-A", "-o", "json"))["items"]) == len(PODS) + 2


def saved() -> Path:
    """Where the node and its control plane are once they are saved."""
    files = (cluster.__file__, control_plane.__file__)
    parts: list[str | Path] = [
        *(image().home.name, node_disk.path().name, recipe("v2"), *cluster.WORDS),
        *(programs.path(name).name for name in sorted(programs.PROGRAMS)),
        *(SCRIPTS / "kubelet.sh", SCRIPTS / "dns.py", *map(Path, files)),
        *(*_manifests(), STATIC.manifest(), _DOCKERS),
    ]
    return ROOT / "states" / f"cluster-{digest(*parts)}"


def build() -> None:
    """Save a node whose pods run, with its control plane: minutes."""
    target = saved()
    with making(target) as place:
        if place is not None:
            cluster.build(place, _prepare)
    forget_others(target, "cluster-*")


@contextlib.contextmanager
def node(repository: Path, home: Path) -> Iterator[Node]:
    """A node whose pods run and that has the image, by the chart's own name, for a `with` block."""
    chart = yaml.safe_load((repository / CHART / "Chart.yaml").read_text())
    named = yaml.safe_load((repository / CHART / "values.yaml").read_text())["image"]
    file = archive(f"{named['registry']}/{named['repository']}:{chart['appVersion']}")
    go_program("helm")
    with cluster.cluster(saved(), home) as lab:
        upper_layers.write(file, home / "image.tar")
        # The kubelet, which takes a third of a CPU for itself, stands still meanwhile.
        lab.guest.run(
            "systemctl freeze kubelet && ctr -n k8s.io images import --local - "
            "&& systemctl thaw kubelet",
            stdin=(home / "image.tar").read_bytes(),
        )
        yield Node(lab, repository, home)
