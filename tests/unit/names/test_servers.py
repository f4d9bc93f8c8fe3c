"""The kubelet, the API server and sockets: what they say, and what becomes of failures."""

import contextlib
import http.server
import json
import os
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cgexporter.correlate.facts import Facts
from cgexporter.correlate.paths import classify
from cgexporter.hierarchies import Hierarchies
from cgexporter.names import SYSTEM, Answers, Wanted, wire
from cgexporter.names.api import Api
from cgexporter.names.http import Server
from cgexporter.names.kubelet import Kubelet
from cgexporter.names.settings import Access, Identity, resolver
from cgexporter.names.sockets import Socket
from tests.tools.certificates import Authority
from tests.tools.hosts import hex_id

UID = "65d065af-ae73-47db-b13a-2485901d6eb7"
POD = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice"
Answer = tuple[int, object]


def wanted(path: str) -> Wanted:
    """A cgroup."""
    place = classify(path)
    return Wanted((path, 1), place, place.container_path is None, SYSTEM)


APP = wanted(f"{POD}/cri-containerd-{hex_id('app')}.scope")
THE_POD = wanted(POD)


def pod(label: str = "x", version: str = "1") -> dict[str, Any]:
    """A pod as the API has it, with a secret where secrets are."""
    return {
        "metadata": {
            "name": "cart-0",
            "namespace": "shop",
            "uid": UID,
            "resourceVersion": version,
            "labels": {"app": label, "private": "y"},
            "ownerReferences": [
                {"kind": "Node", "name": "n1"},
                {"kind": "StatefulSet", "name": "cart", "controller": True},
            ],
        },
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "env": [{"name": "PASSWORD", "value": "must-not-be-kept"}],
                    "resources": {
                        "requests": {"cpu": "250m", "memory": "64Mi"},
                        "limits": {"cpu": "1500m", "memory": "1Gi"},
                    },
                }
            ]
        },
        "status": {
            "qosClass": "Burstable",
            "containerStatuses": [
                {
                    "name": "app",
                    "image": "registry.example/app:1",
                    "containerID": f"containerd://{hex_id('app')}",
                    "restartCount": 3,
                }
            ],
        },
    }


class Fake:
    """A server that says what a function says; it keeps what it was asked."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.asked: list[tuple[str, str | None]] = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.asked.append((self.path, self.headers["Authorization"]))
                status, content = answer(self.path)
                lines = content if isinstance(content, list) else [content]
                body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked has gone
                    self.wfile.write(body)

            def address_string(self) -> str:
                return ""

            def log_message(self, *words: object) -> None:
                """Say nothing."""

        self._handler = Handler
        self._servers: list[socketserver.BaseServer] = []

    def _serve(self, server: socketserver.BaseServer) -> None:
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self) -> str:
        """Serve on loopback."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler)
        self._serve(server)
        return f"http://127.0.0.1:{server.server_port}"

    def socket(self, path: Path) -> str:
        """Serve on a UNIX socket."""
        self._serve(socketserver.ThreadingUnixStreamServer(str(path), self._handler))
        return str(path)

    def close(self) -> None:
        """Stop."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def fakes() -> Iterator[Callable[[Callable[[str], Answer]], Fake]]:
    """Makes fake servers; stops them after the test."""
    made: list[Fake] = []

    def make(answer: Callable[[str], Answer]) -> Fake:
        made.append(Fake(answer))
        return made[-1]

    yield make
    for fake in made:
        fake.close()


Fakes = Callable[[Callable[[str], Answer]], Fake]


def check(found: Answers, label: str = "x") -> None:
    """All is told of the pod and its container, and only the labels asked for."""
    app, whole = found[APP.key].facts, found[THE_POD.key].facts
    assert (app.namespace, app.pod, app.name, app.pod_uid) == ("shop", "cart-0", "app", UID)
    assert (app.image, app.restart_count) == ("registry.example/app:1", 3)
    assert app.declared is not None
    assert (app.declared.cpu_request_cores, app.declared.cpu_limit_cores) == (0.25, 1.5)
    assert app.declared.memory_request_bytes == 64 << 20
    assert app.declared.memory_limit_bytes == 1 << 30
    assert (whole.owner_kind, whole.owner_name) == ("StatefulSet", "cart")
    assert whole.qos_class == "Burstable"
    assert whole.labels == app.labels == {"app": label}


LABELS = frozenset({"app"})


def test_kubelet(fakes: Fakes) -> None:
    """/pods tells all; a token is not sent without TLS."""
    fake = fakes(lambda _: (200, {"items": [pod(), {"metadata": {}}]}))
    source = Kubelet(Server(url=fake.url(), token_file="/nowhere"), LABELS)
    check(source.find([APP, THE_POD]))
    check(source.find([APP, THE_POD]))
    assert fake.asked == [("/pods", None)]  # once for both


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((403, {}), "the token lacks the right nodes/pods (get)"),
        ((401, {}), "the token is not accepted"),
        ((500, {}), "status 500"),
    ],
)
def test_kubelet_that_refuses(fakes: Fakes, answer: Answer, problem: str) -> None:
    """Said plainly, and asked again more and more seldom."""
    fake = fakes(lambda _: answer)
    url = fake.url()
    source = Kubelet(Server(url=url), LABELS)
    assert not source.find([APP])
    assert source.problems() == {f"{url}/pods": problem}
    assert not source.find([APP])
    assert not source.problems()
    assert len(fake.asked) == 1


def test_kubelet_that_is_away() -> None:
    """No connection is a problem, not an exception."""
    source = Kubelet(Server(url="http://127.0.0.1:1"), LABELS)
    assert not source.find([APP])
    assert "cannot connect" in next(iter(source.problems().values()))


def test_static_pods(fakes: Fakes) -> None:
    """Their cgroups have the hash of the manifest for a UID, and their mirror another."""
    digest = "0123456789abcdef0123456789abcdef"
    path = f"/kubepods.slice/kubepods-pod{digest}.slice"
    mirror = pod()
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.hash": digest}
    fake = fakes(lambda _: (200, {"items": [mirror]}))
    static = wanted(path)
    found = Kubelet(Server(url=fake.url()), LABELS).find([static])
    assert found[static.key].facts.pod == "cart-0"


class Script:
    """An API server: a list, then what each watch says."""

    def __init__(self, *watches: Answer) -> None:
        self.label = "x"
        self.lists = 0
        self._watches = iter(watches)

    def __call__(self, path: str) -> Answer:
        """Answer one request."""
        if "watch=1" not in path:
            self.lists += 1
            if "continue" not in path:
                return 200, {"metadata": {"resourceVersion": "1", "continue": "c/1"}, "items": []}
            return 200, {"metadata": {"resourceVersion": "1"}, "items": [pod(self.label)]}
        answer = next(self._watches, None)
        if answer is None:
            time.sleep(1)
            return 200, []
        return answer


def followed(source: Api, done: Callable[[Answers], bool]) -> Answers:
    """What is told once it is as wanted."""
    deadline = time.monotonic() + 10
    while True:
        found = source.find([APP, THE_POD])
        if done(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def label_of(found: Answers) -> str | None:
    """The label app of the pod."""
    return found[THE_POD.key].facts.labels.get("app") if THE_POD.key in found else None


def event(kind: str, thing: object) -> dict[str, object]:
    """An event of a watch."""
    return {"type": kind, "object": thing}


def test_api_lists_and_watches(fakes: Fakes) -> None:
    """The list is read page by page; then changes are followed."""
    script = Script(
        (200, [event("BOOKMARK", {"metadata": {"resourceVersion": "7"}})]),
        (200, [event("MODIFIED", pod("y", "8"))]),
    )
    fake = fakes(script)
    source = Api(Server(url=fake.url()), "n1", LABELS)
    check(followed(source, lambda found: label_of(found) == "y"), "y")
    assert script.lists == 2
    targets = [target for target, _ in fake.asked]
    assert all("fieldSelector=spec.nodeName%3Dn1" in target for target in targets)
    assert "continue=c%2F1" in targets[1]
    assert "resourceVersion=1&" in targets[2]
    assert "resourceVersion=7&" in targets[3]
    source.close()


@pytest.mark.parametrize(
    "gone",
    [(410, {}), (200, [event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})])],
    ids=["status", "event"],
)
def test_api_that_forgot_the_version(fakes: Fakes, gone: Answer) -> None:
    """410 Gone: what is known stays until a new list replaces it."""
    script = Script(gone)
    fake = fakes(script)
    source = Api(Server(url=fake.url()), "n1", LABELS)
    assert label_of(source.find([APP, THE_POD])) == "x"
    script.label = "z"
    assert label_of(followed(source, lambda found: label_of(found) == "z")) == "z"
    source.close()


def test_api_deletes(fakes: Fakes) -> None:
    """A deleted pod is not known any more."""
    fake = fakes(Script((200, [event("DELETED", pod())])))
    source = Api(Server(url=fake.url()), "n1", LABELS)
    assert not followed(source, lambda found: not found)
    source.close()


@pytest.mark.parametrize("torn", [(200, [{"type": 3}, "x"]), (500, {}), (200, [[]])])
def test_api_that_errs(fakes: Fakes, torn: Answer) -> None:
    """Whatever a watch says, it goes on."""
    script = Script(torn, (200, [event("MODIFIED", pod("y", "8"))]))
    fake = fakes(script)
    source = Api(Server(url=fake.url()), "n1", LABELS)
    assert label_of(followed(source, lambda found: label_of(found) == "y")) == "y"
    source.close()


def test_api_without_trust(tmp_path: Path) -> None:
    """TLS without certificates to trust is refused before anything is sent."""
    server = Server(url="https://127.0.0.1:1", ca_file=str(tmp_path / "none"))
    source = Api(server, "n1", LABELS)
    assert not source.find([APP])
    assert "give --identity.ca-file" in next(iter(source.problems().values()))
    source.close()


def test_a_token_that_is_none(tmp_path: Path) -> None:
    """What a file holds that is no token is not sent and not said."""
    (tmp_path / "token").write_text("not one\nline")
    server = Server(
        url="https://127.0.0.1:1",
        token_file=str(tmp_path / "token"),
        ca_file=str(Authority(tmp_path).certificate),
    )
    source = Kubelet(server, LABELS)
    assert not source.find([APP])
    (why,) = source.problems().values()
    assert why == f"cannot connect: {tmp_path}/token holds no token"


@pytest.mark.parametrize("cleanses", [True, False])
def test_an_old_openssl(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cleanses: bool
) -> None:
    """That it leaves what it decrypted in memory is said."""
    monkeypatch.setattr(wire, "CLEANSES", cleanses)
    access = Access(url="https://127.0.0.1:1", token_file="", ca_file="")
    resolver(Identity(logs=False, state=False, kubelet=access), Hierarchies(None, {}, "/none"))
    assert ("does not erase" in caplog.text) is not cleanses


def test_docker_socket(fakes: Fakes, tmp_path: Path) -> None:
    """Names of running containers, without a link's second name."""
    web = wanted(f"/system.slice/docker-{hex_id('web')}.scope")
    listed = {"Id": hex_id("web"), "Names": ["/a/alias", "/web"], "Image": "lab:1", "Labels": None}
    fake = fakes(lambda _: (200, [[listed]]))
    source = Socket("docker", fake.socket(tmp_path / "s"), LABELS)
    facts = source.find([web])[web.key].facts
    assert (facts.name, facts.image) == ("web", "lab:1")
    assert fake.asked[0][0] == "/containers/json"
    assert not source.find([web])  # not twice in a second


def test_crio_socket(fakes: Fakes, tmp_path: Path) -> None:
    """CRI-O is asked for each container; one that it does not know is no problem."""
    crio = wanted(f"{POD}/crio-{hex_id('app')}.scope")
    other = wanted(f"{POD}/crio-{hex_id('other')}.scope")
    told = {
        "name": "k8s_app",
        "image": "i:1",
        "labels": {"io.kubernetes.container.name": "app", "io.kubernetes.pod.name": "cart-0"},
        "annotations": {"io.kubernetes.pod.namespace": "shop"},
    }
    fake = fakes(lambda path: (200, told) if hex_id("app") in path else (404, {}))
    source = Socket("cri-o", fake.socket(tmp_path / "s"), LABELS)
    found = source.find([crio, other])
    assert list(found) == [crio.key]
    facts: Facts = found[crio.key].facts
    assert (facts.namespace, facts.pod, facts.name) == ("shop", "cart-0", "app")
    assert not source.problems()


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    """Said with its path."""
    source = Socket("docker", str(tmp_path / "none"), LABELS)
    assert not source.find([wanted(f"/docker/{hex_id('x')}")])
    ((where, why),) = source.problems().items()
    assert where.startswith(str(tmp_path))
    assert os.strerror(2) in why
