"""The flags ``--web.*`` and ``--output.*``: where metrics go, to whom, and how much."""

import argparse
from collections.abc import Callable

from cgexporter.durations import seconds
from cgexporter.web.limits import Limits

DEFAULT_ADDRESS = ("", 9753)
_DEFAULT = Limits()


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT or :PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _http_path(text: str) -> str:
    if not text.startswith("/") or text == "/" or not text.isascii() or " " in text or "?" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path such as /metrics")
    if text.startswith("/-/"):
        raise argparse.ArgumentTypeError("paths below /-/ are the server's own")
    return text


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {least} to {most}"
            )
        return int(text)

    return parse


def duration(text: str) -> float:
    """A duration above 0, of at most a day."""
    try:
        found = seconds(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    if not 0 < found <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 24h")
    return found


def add(web: argparse._ArgumentGroup) -> None:
    """Add the flags to the command line's grammar."""
    web.add_argument(
        "--web.listen-address",
        dest="addresses",
        metavar="HOST:PORT",
        type=_address,
        action="append",
        help=f"address to listen on; may be repeated (default: :{DEFAULT_ADDRESS[1]})",
    )
    web.add_argument(
        "--web.systemd-socket",
        dest="systemd_socket",
        action="store_true",
        help="accept on the sockets that systemd hands over, instead of addresses",
    )
    web.add_argument(
        "--web.telemetry-path",
        dest="metrics_path",
        metavar="PATH",
        type=_http_path,
        default="/metrics",
        help="path of the metrics (default: %(default)s)",
    )
    web.add_argument(
        "--web.config.file",
        dest="web_config",
        metavar="FILE",
        default="",
        help="TLS, client certificates, passwords and headers, in the format of Prometheus' "
        "exporters (docs/WEB.md); read again when it changes (default: none)",
    )
    web.add_argument(
        "--web.max-connections",
        dest="max_connections",
        metavar="N",
        type=_number(2, 100_000),
        default=_DEFAULT.connections,
        help="connections at once; for one more, the one goes that has kept us waiting longest "
        "(default: %(default)s)",
    )
    for name, what, value in (
        ("read", "for a request to arrive once it began, and for a TLS handshake", "read_seconds"),
        ("idle", "that a connection may wait for its next request", "idle_seconds"),
        ("write", "for a client to take an answer", "write_seconds"),
    ):
        default = getattr(_DEFAULT, value)
        web.add_argument(
            f"--web.{name}-timeout",
            dest=f"{name}_timeout",
            metavar="DURATION",
            type=duration,
            default=default,
            help=f"longest time {what} (default: {default:.0f}s)",
        )


def problem(flags: argparse.Namespace) -> str | None:
    """What is wrong with flags that are right one by one; None where nothing is."""
    if flags.addresses and flags.systemd_socket:
        return "--web.listen-address goes without --web.systemd-socket"
    if flags.textfile and flags.systemd_socket:
        return "--output.textfile serves nothing: it goes without --web.systemd-socket"
    if flags.textfile_interval and not flags.textfile:
        return "--output.interval goes with --output.textfile"
    return None


def _textfile(text: str) -> str:
    if not text.endswith(".prom"):
        raise argparse.ArgumentTypeError(
            f"{text!r} does not end in .prom, so node_exporter would not read it"
        )
    return text


def add_output(output: argparse._ArgumentGroup) -> None:
    """Add --output.*: a file instead of a server."""
    output.add_argument(
        "--output.textfile",
        dest="textfile",
        metavar="FILE",
        type=_textfile,
        help="write the metrics to FILE for node_exporter's textfile collector, and exit; FILE is "
        "replaced in one step (docs/INSTALL.md)",
    )
    output.add_argument(
        "--output.interval",
        dest="textfile_interval",
        metavar="DURATION",
        type=duration,
        help="go on, and write the file each DURATION, such as 30s",
    )


def limits(flags: argparse.Namespace) -> Limits:
    """Bounds on clients, as the flags say."""
    return Limits(
        connections=flags.max_connections,
        read_seconds=flags.read_timeout,
        idle_seconds=flags.idle_timeout,
        write_seconds=flags.write_timeout,
    )
