"""The options of ``docker run`` and ``docker create``, read as Docker's client reads them.

Source: docker/cli cli/command/container/{opts,run,create}.go and github.com/spf13/pflag.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cgexporter.resources.settings import ExplainError

# Options that decide about cgroups or namespaces, by whether they may be given several times.
_LIMITS: Mapping[str, bool] = {
    "blkio-weight": False,
    "blkio-weight-device": True,
    "cgroup-parent": False,
    "cgroupns": False,
    "cpu-period": False,
    "cpu-quota": False,
    "cpu-rt-period": False,
    "cpu-rt-runtime": False,
    "cpu-shares": False,
    "cpus": False,
    "cpuset-cpus": False,
    "cpuset-mems": False,
    "device": True,
    "device-cgroup-rule": True,
    "device-read-bps": True,
    "device-read-iops": True,
    "device-write-bps": True,
    "device-write-iops": True,
    "ipc": False,
    "kernel-memory": False,
    "memory": False,
    "memory-reservation": False,
    "memory-swap": False,
    "memory-swappiness": False,
    "network": True,
    "oom-score-adj": False,
    "pid": False,
    "pids-limit": False,
    "runtime": False,
    "userns": False,
    "uts": False,
}
_LIMIT_SWITCHES = frozenset({"oom-kill-disable", "privileged"})

_PROCESS = "says what runs and as whom, not what it may use"
_FILES = "is about files; page cache and tmpfs of what is written counts towards the memory limit"
_NETWORK = "is about the network, which no cgroup file limits"
_LIFE = "is about how the container is kept"
_ULIMIT = "sets a limit of each process (setrlimit), not of the cgroup"
_SECURITY = "is about rights"
_HEALTH = "runs a check inside the container; what it uses counts as the container's"
_WINDOWS = "is for Windows only"
_WITHOUT: Mapping[str, str] = {
    **dict.fromkeys(
        ("entrypoint", "env", "env-file", "hostname", "domainname", "user", "workdir"), _PROCESS
    ),
    **dict.fromkeys(("group-add", "platform", "stop-signal", "stop-timeout"), _PROCESS),
    **dict.fromkeys(("mount", "storage-opt", "volume", "volume-driver", "volumes-from"), _FILES),
    **dict.fromkeys(("add-host", "dns", "dns-option", "dns-search", "expose", "ip"), _NETWORK),
    **dict.fromkeys(("ip6", "link", "link-local-ip", "mac-address", "publish"), _NETWORK),
    "network-alias": _NETWORK,
    **dict.fromkeys(("annotation", "attach", "cidfile", "detach-keys", "label"), _LIFE),
    **dict.fromkeys(("label-file", "log-driver", "log-opt", "name", "pull", "restart"), _LIFE),
    **dict.fromkeys(("health-cmd", "health-interval", "health-retries"), _HEALTH),
    **dict.fromkeys(("health-start-interval", "health-start-period", "health-timeout"), _HEALTH),
    **dict.fromkeys(("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"), _WINDOWS),
    "isolation": _WINDOWS,
    "cap-add": _SECURITY,
    "cap-drop": _SECURITY,
    "security-opt": _SECURITY,
    "gpus": "lets a hook of the GPU's maker allow its devices; no other cgroup file changes",
    "shm-size": "bounds /dev/shm; what is in it counts towards the memory limit",
    "tmpfs": _FILES,
    "sysctl": "sets a kernel parameter of the container's namespaces, no cgroup file",
    "ulimit": _ULIMIT,
}
_WITHOUT_SWITCHES: Mapping[str, str] = {
    **dict.fromkeys(("detach", "interactive", "quiet", "rm", "sig-proxy", "tty"), _LIFE),
    "disable-content-trust": _LIFE,
    "init": "adds one small process, which counts towards --pids-limit",
    "no-healthcheck": _HEALTH,
    "publish-all": _NETWORK,
    "read-only": _FILES,
    "use-api-socket": _FILES,
}
_ALIASES = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}
_SHORT = {
    "a": "attach", "c": "cpu-shares", "d": "detach", "e": "env", "h": "hostname",
    "i": "interactive", "l": "label", "m": "memory", "p": "publish", "P": "publish-all",
    "q": "quiet", "t": "tty", "u": "user", "v": "volume", "w": "workdir",
}  # fmt: skip
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_SWITCHES = _LIMIT_SWITCHES | _WITHOUT_SWITCHES.keys()


@dataclass(frozen=True, slots=True)
class Options:
    """What a command line says.

    Attributes:
        values: of each option that decides something, all values in their order; the last one
            counts where it is not a list.
        without_effect: options that change no cgroup file and no namespace, and why. Their
            values are not kept: they may be secrets.
        image: what is started, if it is said.
    """

    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    without_effect: Sequence[tuple[str, str]] = ()
    image: str | None = None

    def last(self, name: str) -> str | None:
        """The value of an option that is no list."""
        given = self.values.get(name)
        return given[-1] if given else None

    def each(self, name: str) -> Sequence[str]:
        """The values of a list."""
        return self.values.get(name, ())

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.last(name) == "true"


def read_command(words: Sequence[str]) -> Options:
    """Read ``docker [container] run|create OPTIONS [IMAGE [COMMAND…]]``.

    Raises:
        ExplainError: it is another command, or an option is unknown or lacks its value.
    """
    rest = list(words)
    if rest[:1] != ["docker"]:
        raise ExplainError("explain what? begin with `docker run`, or give -f MANIFEST")
    del rest[0]
    if rest[:1] == ["container"]:
        del rest[0]
    if rest[:1] not in (["run"], ["create"]):
        raise ExplainError("of docker's commands only run and create are explained")
    return _read(rest[1:])


def _read(words: Sequence[str]) -> Options:
    values: dict[str, list[str]] = {}
    without: dict[str, str] = {}
    image = None
    rest = iter(words)
    for word in rest:
        if word == "--":
            image = next(rest, None)
            break
        if not word.startswith("-") or word == "-":
            image = word  # options after the image are its command's
            break
        for name, value in _split(word):
            text = value
            if name in _SWITCHES:
                text = _switch(name, value)
            elif value is None:
                text = next(rest, None)
                if text is None:
                    raise ExplainError(f"docker run: --{name} needs a value")
            if name in _LIMITS or name in _LIMIT_SWITCHES:
                values.setdefault(name, []).append(text or "")
            else:
                without[f"--{name}"] = _WITHOUT.get(name) or _WITHOUT_SWITCHES[name]
    return Options(values, tuple(without.items()), image)


def _switch(name: str, value: str | None) -> str:
    if value is None or value in _TRUE:
        return "true"
    if value in _FALSE:
        return "false"
    raise ExplainError(f"docker run: --{name}={value} is neither true nor false")


def _split(word: str) -> Sequence[tuple[str, str | None]]:
    """Options in a word, each with its value where the word holds it: ``-itm512m`` has three."""
    if word.startswith("--"):
        name, equals, value = word.removeprefix("--").partition("=")
        name = _ALIASES.get(name, name)
        if name not in _LIMITS and name not in _SWITCHES and name not in _WITHOUT:
            raise ExplainError(f"docker run has no option --{name}")
        return [(name, value if equals else None)]
    found: list[tuple[str, str | None]] = []
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter not in _SHORT:
            raise ExplainError(f"docker run has no option -{letter}")
        name = _SHORT[letter]
        if letters.startswith("="):
            found.append((name, letters[1:]))
            break
        if name in _SWITCHES:
            found.append((name, None))
        else:
            found.append((name, letters or None))
            break
    return found


LISTS = frozenset(name for name, many in _LIMITS.items() if many)
