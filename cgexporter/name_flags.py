"""The flags ``--identity.*``: where names come from."""

import argparse
import os
from collections.abc import Callable, Sequence

from cgexporter.correlate.facts import label_name
from cgexporter.names.settings import (
    IN_CLUSTER,
    SERVICE_ACCOUNT,
    SOCKETS,
    STATE_KINDS,
    Access,
    Identity,
)


def _kind_and_path(kinds: Sequence[str]) -> Callable[[str], tuple[str, str]]:
    def parse(text: str) -> tuple[str, str]:
        kind, _, path = text.partition("=")
        if kind not in kinds or not path.startswith("/"):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not KIND=/PATH with one of {', '.join(kinds)}"
            )
        return kind, path.rstrip("/")

    return parse


def _url(text: str) -> str:
    """An origin. A token is only ever sent over TLS; plain HTTP stays on this host."""
    from urllib.parse import urlsplit  # half a megabyte, with what it needs

    url = urlsplit(text)
    try:
        port = url.port
    except ValueError:
        port = 0
    loopback = url.hostname in ("localhost", "127.0.0.1", "::1")
    safe = url.scheme == "https" or (url.scheme == "http" and loopback)
    if not safe or not url.hostname or port == 0 or url.path.strip("/") or url.query:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not https://HOST[:PORT], or http:// to loopback"
        )
    return text.rstrip("/")


def _label(text: str) -> str:
    if not text or len(text) > 317 or not text.isascii() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a label")
    return text


def add(names: argparse._ArgumentGroup) -> None:
    """Add the flags to the command line's grammar."""
    names.add_argument(
        "--identity.root",
        dest="identity_root",
        metavar="DIR",
        default="/",
        help="the host's root, or a directory with the host's /var/log/containers, /run, /var/lib "
        "at the same places; no file outside is read for names (default: %(default)s)",
    )
    names.add_argument(
        "--identity.logs",
        dest="identity_logs",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="namespaces, pods and containers from the kubelet's links in /var/log/containers "
        "(default: on; any user may list them)",
    )
    names.add_argument(
        "--identity.state",
        dest="identity_state",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="names, images and labels from the runtimes' state files, where they may be read "
        "(default: on; uid 0 without capabilities may)",
    )
    names.add_argument(
        "--identity.state-root",
        dest="state_roots",
        metavar="KIND=DIR",
        type=_kind_and_path(STATE_KINDS),
        action="append",
        default=[],
        help="one more place of state files, asked first; a part may have a * for any name. runc, "
        "crun: the runtime's --root; containerd: its state directory; containerd-root: its root; "
        "docker: the data root; "
        "storage: Podman's or CRI-O's storage root; may be repeated",
    )
    names.add_argument(
        "--identity.kubelet",
        dest="kubelet",
        metavar="URL",
        type=_url,
        help="requests, limits, labels and owners from the kubelet's /pods, such as "
        "https://127.0.0.1:10250; its token needs the right nodes/pods",
    )
    names.add_argument(
        "--identity.api",
        dest="api",
        metavar="URL",
        type=_api_url,
        help="the same from the API server, by a watch of this node's pods; in-cluster stands for "
        "the cluster this runs in; its token needs the rights list and watch on pods",
    )
    names.add_argument(
        "--identity.node",
        dest="node",
        metavar="NAME",
        default=os.environ.get("NODE_NAME", ""),
        help="with --identity.api: this node's name in the cluster (default: $NODE_NAME)",
    )
    names.add_argument(
        "--identity.token-file",
        dest="token_file",
        metavar="FILE",
        default=f"{SERVICE_ACCOUNT}/token",
        help="the token for the kubelet and the API server, read again for each connection "
        "(default: %(default)s)",
    )
    names.add_argument(
        "--identity.ca-file",
        dest="ca_file",
        metavar="FILE",
        default=f"{SERVICE_ACCOUNT}/ca.crt",
        help="certificates that the kubelet's or API server's must be signed by "
        "(default: %(default)s)",
    )
    names.add_argument(
        "--identity.socket",
        dest="sockets",
        metavar="KIND=SOCKET",
        type=_kind_and_path(SOCKETS),
        action="append",
        default=[],
        help="names from a runtime's socket, such as docker=/run/docker.sock: "
        f"{', '.join(SOCKETS)}; may be repeated (default: none; a socket is root on the host)",
    )
    names.add_argument(
        "--identity.labels",
        dest="labels",
        metavar="NAME",
        type=_label,
        action="append",
        default=[],
        help="pass this label of pods and containers on, as label_NAME on the info metrics; may "
        "be repeated",
    )


def _api_url(text: str) -> str:
    return text if text == IN_CLUSTER else _url(text)


def problem(flags: argparse.Namespace) -> str | None:
    """What is wrong with flags that are right one by one; None where nothing is."""
    if flags.api and not flags.node:
        return "--identity.api needs --identity.node or $NODE_NAME"
    names: dict[str, str] = {}
    for label in flags.labels:
        other = names.setdefault(label_name(label), label)
        if other != label:
            return f"--identity.labels {other} and {label} would both be {label_name(label)}"
    return None


def identity(flags: argparse.Namespace) -> Identity:
    """Where names come from, as the flags say."""

    def access(url: str | None) -> Access | None:
        return Access(url=url, token_file=flags.token_file, ca_file=flags.ca_file) if url else None

    return Identity(
        root=flags.identity_root,
        logs=flags.identity_logs,
        state=flags.identity_state,
        state_roots=flags.state_roots,
        kubelet=access(flags.kubelet),
        api=access(flags.api),
        node=flags.node,
        sockets=flags.sockets,
        labels=frozenset(flags.labels),
    )
