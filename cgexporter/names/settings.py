"""Which sources to ask: made of flags."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgexporter.hierarchies import Hierarchies
from cgexporter.names import Source
from cgexporter.names.bundle import Bundle
from cgexporter.names.containerd import Containerd
from cgexporter.names.docker import Docker
from cgexporter.names.door import Door
from cgexporter.names.libpod import Libpod
from cgexporter.names.logs import Logs
from cgexporter.names.resolver import Resolver
from cgexporter.names.roots import ALSO, DEFAULTS, SUFFIXES
from cgexporter.names.state import State
from cgexporter.names.storage import Storage

if TYPE_CHECKING:
    from cgexporter.names.http import Server


log = logging.getLogger(__name__)


class IdentityError(Exception):
    """Where names should come from is not there; the message says what to do."""


IN_CLUSTER = "in-cluster"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
SOCKETS = ("docker", "podman", "cri-o")
STATE_KINDS = tuple(kind for kind in DEFAULTS if kind not in ALSO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach the kubelet or the API server.

    Attributes:
        url: of the server; IN_CLUSTER is for the API server alone.
        token_file: of a service account; read again for each connection.
        ca_file: certificates that the server's must be signed by.
    """

    url: str
    token_file: str
    ca_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Where names come from; ``--identity.*``."""

    root: str = "/"
    logs: bool = True
    state: bool = True
    state_roots: Sequence[tuple[str, str]] = ()  # kind and directory, before the defaults
    kubelet: Access | None = None
    api: Access | None = None
    node: str = ""
    sockets: Sequence[tuple[str, str]] = ()  # kind and path
    labels: frozenset[str] = frozenset()


def resolver(identity: Identity, hierarchies: Hierarchies) -> Resolver:
    """The sources that are asked for, in the order of the ladder.

    Raises:
        IdentityError: there is no such root or cluster.
    """
    if not os.path.isdir(identity.root):
        raise IdentityError(
            f"{identity.root} is no directory: give the host's root as --identity.root"
        )
    return Resolver([*_files(identity, hierarchies), *_servers(identity)], hierarchies)


def _files(identity: Identity, hierarchies: Hierarchies) -> list[Source]:
    sources: list[Source] = []
    if identity.logs:
        sources.append(Logs(Door(identity.root)))
    if identity.state:
        roots = {
            kind: [
                *(
                    path + SUFFIXES.get(kind, "")
                    for given, path in identity.state_roots
                    if given == ALSO.get(kind, kind)
                ),
                *defaults,
            ]
            for kind, defaults in DEFAULTS.items()
        }
        prefixes = sorted({tree.root for tree in hierarchies.all} - {"/"})
        labels = identity.labels
        sources += [
            State(Door(identity.root), roots["runc"], roots["crun"], labels, prefixes),
            Bundle(Door(identity.root), roots["containerd"], roots["storage"], labels),
            Docker(Door(identity.root), roots["docker"], labels),
            Libpod(Door(identity.root), roots["libpod"], labels),
            Storage(Door(identity.root), roots["storage"]),
            Containerd(Door(identity.root), roots["containerd-root"], labels),
        ]
    return sources


def _servers(identity: Identity) -> list[Source]:
    """Sources that need TLS and h11, which nothing else of `--once` does."""
    sources: list[Source] = []
    if identity.kubelet is not None:
        from cgexporter.names.kubelet import Kubelet

        sources.append(Kubelet(_server(identity.kubelet), identity.labels))
    if identity.api is not None:
        from cgexporter.names.api import Api

        sources.append(Api(_server(identity.api), identity.node, identity.labels))
    for kind, path in identity.sockets:
        from cgexporter.names.sockets import Socket

        sources.append(Socket(kind, path, identity.labels))
    return sources


def _server(access: Access) -> "Server":
    from cgexporter.names.http import Server
    from cgexporter.names.wire import CLEANSES

    url = access.url
    if url == IN_CLUSTER:
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{what}", "") for what in ("HOST", "PORT"))
        if not host:
            raise IdentityError(f"--identity.api {IN_CLUSTER}: $KUBERNETES_SERVICE_HOST is not set")
        url = f"https://{f'[{host}]' if ':' in host else host}:{port or 443}"
    if not CLEANSES and url.startswith("https:"):
        log.warning(
            "OpenSSL before 3.0 does not erase what it decrypted: docs/IDENTITY.md, Secrets"
        )
    return Server(url=url, token_file=access.token_file, ca_file=access.ca_file)
