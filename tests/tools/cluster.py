"""A real API server with etcd on loopback, for tests: no kubelet, no scheduler."""

import base64
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.tools import programs


def missing() -> list[str]:
    """Programs that are not on this machine."""
    needed = ["etcd", "openssl"]
    absent = [program for program in needed if shutil.which(program) is None]
    return absent + programs.missing("kube-apiserver")


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_YEARS = ("-days", "3650")  # for one that is kept


@dataclass
class Cluster:
    """An API server that can be stopped and started again."""

    home: Path
    port: int = field(default_factory=free_port)
    etcd_port: int = field(default_factory=free_port)
    peer_port: int = field(default_factory=free_port)
    # Of the API server: who may do what, and what a cluster without controllers cannot have.
    flags: Sequence[str] = (
        *("--authorization-mode", "RBAC"),
        *("--disable-admission-plugins", "ServiceAccount"),
    )
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate that signed its own."""
        return self.home / "ca.crt"

    def prepare(self) -> None:
        """Make keys and certificates."""
        self._openssl(
            *("req", "-x509", *_KEY, *_YEARS),
            *("-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca"),
        )
        server = "subjectAltName=IP:127.0.0.1,IP:10.96.0.1,DNS:localhost"
        self.certify("server", "/CN=kube-apiserver", server)
        self.certify("admin", "/O=system:masters/CN=admin")
        self._openssl("genrsa", "-out", "sa.key", "2048")
        self._openssl("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")

    def certify(
        self, name: str, subject: str, extension: str = "extendedKeyUsage=clientAuth"
    ) -> None:
        """Make a key and a certificate for it: `name`.key and `name`.crt."""
        (self.home / f"{name}.ext").write_text(extension)
        self._openssl(
            *("req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-out", f"{name}.crt", "-extfile", f"{name}.ext", *_YEARS),
        )

    def kubeconfig(self, name: str, url: str = "") -> Path:
        """Write a file for clients of the API server with the certificate `name`."""

        def data(file: str) -> str:
            return base64.b64encode((self.home / file).read_bytes()).decode()

        target = self.home / f"{name}.kubeconfig"
        server = {"server": url or self.url, "certificate-authority-data": data("ca.crt")}
        user = {
            "client-certificate-data": data(f"{name}.crt"),
            "client-key-data": data(f"{name}.key"),
        }
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": server}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
            "current-context": "lab",
        }
        target.touch(0o600)
        target.write_text(json.dumps(content))
        return target

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.home, check=True, capture_output=True)

    def start_etcd(self) -> None:
        """Start etcd."""
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd_port, self.peer_port))
        self.run(
            *("etcd", "etcd", "--data-dir", "etcd", "--listen-client-urls", client),
            *("--advertise-client-urls", client, "--listen-peer-urls", peer),
            *("--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"),
        )

    def start(self) -> None:
        """Start the API server and wait until it is ready."""
        self.run(
            *("kube-apiserver", str(programs.build("kube-apiserver"))),
            *("--etcd-servers", f"http://127.0.0.1:{self.etcd_port}"),
            *("--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"),
            *("--secure-port", str(self.port), "--endpoint-reconciler-type", "none"),
            *("--service-cluster-ip-range", "10.96.0.0/16", *self.flags),
            *("--client-ca-file", "ca.crt", "--tls-cert-file", "server.crt"),
            *("--tls-private-key-file", "server.key", "--cert-dir", "certs"),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
            *("--service-account-key-file", "sa.pub"),
            *("--service-account-signing-key-file", "sa.key"),
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.request("GET", "/readyz")
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def run(self, name: str, *command: str) -> None:
        """Run one more program until all are stopped."""
        with (self.home / f"{name}.log").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                command, cwd=self.home, stdout=output, stderr=output
            )

    def stop(self, name: str = "kube-apiserver") -> None:
        """Stop one of the programs."""
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop all."""
        for name in list(self._processes)[::-1]:
            self.stop(name)

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
    ) -> Any:
        """Ask the API server as its administrator."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(self.home / "admin.crt", self.home / "admin.key")
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": kind},
        )
        with urllib.request.urlopen(request, context=context, timeout=30) as response:
            content = response.read()
        return json.loads(content) if content.startswith(b"{") else content.decode()

    def token(self, account: str) -> str:
        """Make a token for a service account of the namespace default, and the account."""
        with contextlib.suppress(urllib.error.HTTPError):  # it is there
            self.request(
                "POST",
                "/api/v1/namespaces/default/serviceaccounts",
                {"metadata": {"name": account}},
            )
        path = f"/api/v1/namespaces/default/serviceaccounts/{account}/token"
        token: str = self.request("POST", path, {"spec": {}})["status"]["token"]
        return token

    def allow(self, account: str, *verbs: str) -> None:
        """Give a service account rights on pods."""
        rbac, group = "/apis/rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": list(verbs)}]
        self.request(
            "POST", f"{rbac}/clusterroles", {"metadata": {"name": account}, "rules": rules}
        )
        self.request(
            "POST",
            f"{rbac}/clusterrolebindings",
            {
                "metadata": {"name": account},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": account},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "default"}],
            },
        )


@contextlib.contextmanager
def cluster(home: Path) -> Iterator[Cluster]:
    """A cluster for the time of a `with` block."""
    made = Cluster(home)
    try:
        made.prepare()
        made.start_etcd()
        made.start()
        yield made
    finally:
        made.close()
