"""A whole cluster of one node: the control plane here on loopback, the kubelet in a guest.

The kubelet reaches the API server, and the API server the kubelet, through ssh. The node is called
127.0.0.1, by which the API server then asks for logs and the like. There is no kube-proxy: of
Services pods reach the API server's, at its usual address, and headless ones by the names that
`Lab.tell_names` has told.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab import node_disk
from tests.lab.image import image
from tests.lab.machine import Guest
from tests.lab.states import NODE_WORDS, SCRIPTS
from tests.tools import programs
from tests.tools.cluster import Cluster

NODE = "127.0.0.1"
_NODE_ADDRESS = "10.0.2.15"
_API_PORT, _KUBELET_PORT = 6443, 10250  # as the guest sees them
# Of the Services `kubernetes` and, by custom, `kube-dns`.
_API_SERVICE, _DNS_SERVICE = "10.96.0.1", "10.96.0.10"
_NAMES = "/run/names"
# What pods and the exporter expect of a node: its kubelet at its own address, the API server at the
# Service's, and names.
_ADDRESSES = f"""
for address in {_API_SERVICE} {_DNS_SERVICE}; do ip address add $address/32 dev lo; done
echo nameserver {_DNS_SERVICE} >/etc/resolv.conf
touch {_NAMES}
systemd-run -q --unit api-address socat \
    TCP-LISTEN:443,bind={_API_SERVICE},reuseaddr,fork TCP:127.0.0.1:{_API_PORT}
systemd-run -q --unit kubelet-address socat \
    TCP-LISTEN:{_KUBELET_PORT},bind={_NODE_ADDRESS},reuseaddr,fork TCP:127.0.0.1:{_KUBELET_PORT}
systemd-run -q --unit dns python3 /lab/dns.py {_DNS_SERVICE} {_NAMES}
"""
# What systemd loads in case, each of which takes a guest a second or more.
_NO_MODULES = tuple(
    f"systemd.mask=modprobe@{name}.service"
    for name in ("configfs", "dm_mod", "drm", "efi_pstore", "fuse", "loop")
)
WORDS = (*NODE_WORDS, *_NO_MODULES)
_READY = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
_CONTROL, _KUBECONFIG = "control", "node.kubeconfig"
_PATIENCE_SECONDS = 240.0
_FLAGS = (
    *("--authorization-mode", "Node,RBAC", "--allow-privileged=true"),
    *("--kubelet-client-certificate", "admin.crt", "--kubelet-client-key", "admin.key"),
    *("--kubelet-preferred-address-types", "Hostname"),
)


@dataclass(frozen=True, slots=True)
class Lab:
    """A cluster whose node is ready."""

    cluster: Cluster
    guest: Guest

    @property
    def kubeconfig(self) -> Path:
        """For kubectl, helm and the like, as an administrator."""
        return self.cluster.home / "admin.kubeconfig"

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """Run kubectl; what it prints.

        Raises:
            RuntimeError: it failed; with all that it said.
        """
        done = subprocess.run(
            [str(programs.build("kubectl")), *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
            timeout=400,
        )
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def renewed(self) -> str:
        """When the kubelet has last said that it is there."""
        words = ("get", "lease", NODE, "-n", "kube-node-lease", "-o", "jsonpath={.spec.renewTime}")
        return self.kubectl(*words)

    def tell_names(self) -> None:
        """Let pods find those behind headless Services by name."""
        found = json.loads(self.kubectl("get", "endpointslices", "-A", "-o", "json"))["items"]
        lines = [
            f"{each['metadata']['labels']['kubernetes.io/service-name']}."
            f"{each['metadata']['namespace']}.svc {endpoint['addresses'][0]}\n"
            for each in found
            for endpoint in each["endpoints"] or ()
            if endpoint["conditions"]["ready"]
        ]
        self.guest.run(f"cat >{_NAMES}", stdin="".join(lines).encode())


def build(target: Path, prepare: Callable[[Lab], None]) -> None:
    """Boot a node, let it join a new control plane, prepare it and save both."""
    with tempfile.TemporaryDirectory(prefix="cgexporter-lab-") as name:
        home = Path(name)
        guest = _guest(home, node_disk.build())
        try:
            with _control_plane(home / _CONTROL) as made:
                guest.start()
                _set_up(guest, made)
                with _connected(made, guest) as lab:
                    guest.script(SCRIPTS / "kubelet.sh", NODE, f"/lab/{_KUBECONFIG}", timeout=600)
                    guest.run(_ADDRESSES)
                    _wait_until_ready(lab, "")
                    prepare(lab)
                guest.save(target)
        finally:
            guest.stop()
        shutil.copytree(home / _CONTROL, target / _CONTROL)


@contextlib.contextmanager
def cluster(saved: Path, home: Path) -> Iterator[Lab]:
    """A saved cluster that goes on for the time of a `with` block; its files go to `home`."""
    shutil.copytree(saved / _CONTROL, home / _CONTROL)
    guest = _guest(home, None)
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(_control_plane(home / _CONTROL))
        stack.callback(guest.stop)
        renewed = Lab(made, guest).renewed()
        guest.start(saved)
        lab = stack.enter_context(_connected(made, guest))
        _wait_until_ready(lab, renewed)
        yield lab


def _guest(home: Path, scratch: Path | None) -> Guest:
    return Guest(
        *(image(), home / "guest"),
        scratch=scratch,
        words=WORDS,
        niceness=0,  # whoever waits for all tests waits for those of the cluster
    )


@contextlib.contextmanager
def _control_plane(home: Path) -> Iterator[Cluster]:
    """One that runs for a `with` block, on ports of its own; new where there is none in `home`."""
    made = Cluster(home, flags=_FLAGS)
    if not home.exists():
        home.mkdir()
        made.prepare()
        made.certify("manager", "/CN=system:kube-controller-manager")
        made.certify("scheduler", "/CN=system:kube-scheduler")
        made.certify("node", f"/O=system:nodes/CN=system:node:{NODE}")
        made.certify("kubelet", f"/CN={NODE}", f"subjectAltName=IP:{NODE},IP:{_NODE_ADDRESS}")
    made.kubeconfig("admin")
    try:
        made.start_etcd()
        made.start()
        _start_controllers(made)
        yield made
    finally:
        made.close()


def _set_up(guest: Guest, made: Cluster) -> None:
    """Give a node its disk, and what it needs to know of the control plane."""
    guest.run(node_disk.MOUNT)
    node = made.kubeconfig("node", f"https://127.0.0.1:{_API_PORT}")
    guest.put([node, made.ca_file, SCRIPTS / "dns.py"], "/lab")
    # Signed by the cluster, as `serverTLSBootstrap` has it, instead of by itself.
    guest.put([made.home / "kubelet.crt", made.home / "kubelet.key"], "/var/lib/kubelet/pki")


@contextlib.contextmanager
def _connected(made: Cluster, guest: Guest) -> Iterator[Lab]:
    """Let kubelet and API server reach each other for a `with` block."""
    with guest.tunnel(
        *("-R", f"127.0.0.1:{_API_PORT}:127.0.0.1:{made.port}"),
        *("-L", f"127.0.0.1:{_KUBELET_PORT}:127.0.0.1:{_KUBELET_PORT}"),
    ):
        yield Lab(made, guest)


def _start_controllers(made: Cluster) -> None:
    manager, scheduler = made.kubeconfig("manager"), made.kubeconfig("scheduler")
    made.run(
        *("kube-controller-manager", str(programs.build("kube-controller-manager"))),
        *("--kubeconfig", str(manager), "--bind-address", "127.0.0.1", "--secure-port", "0"),
        *("--leader-elect=false", "--use-service-account-credentials"),
        *("--service-account-private-key-file", "sa.key", "--root-ca-file", "ca.crt"),
        *("--node-monitor-grace-period", "120s"),
    )
    made.run(
        *("kube-scheduler", str(programs.build("kube-scheduler"))),
        *("--kubeconfig", str(scheduler), "--bind-address", "127.0.0.1", "--secure-port", "0"),
        "--leader-elect=false",
    )


def _wait_until_ready(lab: Lab, renewed: str) -> None:
    """Wait until the node is ready, and has said that it is there once more."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with contextlib.suppress(RuntimeError):  # the node is not there yet
            if (
                lab.renewed() != renewed
                and lab.kubectl("get", "node", NODE, "-o", _READY) == "True"
            ):
                return
        assert time.monotonic() < deadline, lab.guest.run("journalctl -u kubelet | tail -30")
        time.sleep(0.5)
