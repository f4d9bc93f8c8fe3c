"""What Docker's options become: the files and values of cgroup v1 and v2.

Source: docker/cli cli/command/container/opts.go (what the client refuses), moby daemon/
daemon_unix.go and oci_linux.go (what the daemon refuses, fills in and passes on),
opencontainers/cgroups fs/ and fs2/ (what runc writes).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

from cgexporter.resources import convert
from cgexporter.resources.docker_options import Options
from cgexporter.resources.settings import ExplainError, Explanation, Group, Line, Setting

# Docker refuses less: room for the start of the container.
MIN_MEMORY = 6 * 2**20
ID = "<ID>"
# Source: block/blk-throttle.c tg_set_limit, `val > 1`.
ONE_IS_REFUSED = (
    "some kernels, Linux 6.1 among them, refuse a rate of 1 on v2, and the container does not start"
)
_INT64 = 2**63 - 1
_SIZE = re.compile(
    r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+) ?(?P<unit>b|[kmgtp](?:i?b)?)?", re.IGNORECASE
)
_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_CPUS = re.compile(r"[+-]?[0-9]{0,9}(\.[0-9]{0,18})?([eE][+-]?[0-9]{1,2})?|[0-9]{1,9}/[0-9]{1,9}")
_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}")
_MAX_CPU = 8191  # NR_CPUS is at most 8192

# What a device's path is on this host: "b" or "c" and MAJOR:MINOR; None where it is not known.
Devices = Callable[[str], tuple[str, str] | None]


def explain(options: Options, devices: Devices) -> Explanation:
    """Say what the options become.

    Args:
        options: the command line.
        devices: looks a device up by its path.

    Raises:
        ExplainError: Docker, runc or the kernel refuses this.
    """
    memory = _Memory(options)
    settings = [
        *_cpu(options),
        *_cpuset(options),
        *memory.settings(),
        *_oom(options),
        *_pids(options),
        *_blkio(options, devices),
        *_device_rules(options, devices),
        *_dropped(options),
    ]
    systemd, cgroupfs = _places(options.last("cgroup-parent"))
    return Explanation(
        title=f"docker run{f' {options.image}' if options.image else ''}",
        groups=[
            Group("container", systemd, cgroupfs, settings, limits=_limits(options, memory)),
        ],
        namespaces=_namespaces(options),
        without_effect=options.without_effect,
        notes=_notes(options),
    )


def _number(options: Options, name: str) -> int | None:
    """A whole number; None where the option is not given or, as Docker has it, 0."""
    text = options.last(name)
    if text is None:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or abs(int(text)) > _INT64:
        raise ExplainError(f"--{name}: {text!r} is not a whole number")
    return int(text)


def size(name: str, text: str) -> int:
    """Bytes as Docker reads them: ``512m``, ``1.5g``, ``100kb``, ``2MiB``; all units are binary.

    Source: github.com/docker/go-units RAMInBytes.
    """
    found = _SIZE.fullmatch(text)
    if found is None or len(text) > 32:
        raise ExplainError(f"--{name}: {text!r} is no size, such as 512m or 1.5g")
    value = int(float(found["number"]) * 2 ** _UNITS[(found["unit"] or "")[:1].lower()])
    if value > _INT64:
        raise ExplainError(f"--{name}: {text!r} is more than 2^63-1 bytes")
    return value


def _cpus(text: str) -> int:
    """Billionths of a core."""
    try:
        value = Fraction(text) if _CPUS.fullmatch(text) else None
    except (ValueError, ZeroDivisionError):
        value = None
    if value is None:
        raise ExplainError(f"--cpus: {text!r} is no number of CPUs, such as 1.5")
    nano = value * convert.NANO
    if nano.denominator != 1:
        raise ExplainError(f"--cpus: {text!r} is finer than a billionth")
    return int(nano)


def _quota(options: Options) -> tuple[int | None, int | None]:
    """Quota (-1 for none) and period in microseconds as they are asked; None for not set."""
    period, quota = _number(options, "cpu-period"), _number(options, "cpu-quota")
    if (cpus := options.last("cpus")) is not None and (nano := _cpus(cpus)):
        if period and period > 0:
            raise ExplainError("--cpus and --cpu-period conflict: --cpus sets both of them")
        if quota and quota > 0:
            raise ExplainError("--cpus and --cpu-quota conflict: --cpus sets both of them")
        if nano < 0:
            raise ExplainError(f"--cpus: {cpus} is below 0")
        made = convert.nano_to_quota(nano)
        if 0 < made < convert.MIN_QUOTA_USEC:
            raise ExplainError(
                f"--cpus: {cpus} is less than 0.01, and the kernel refuses a quota below 1 ms"
            )
        # runc takes a quota of 0 for none.
        return made or None, convert.PERIOD_USEC
    if period and not 1000 <= period <= 1_000_000:
        raise ExplainError(f"--cpu-period: {period} is not 1000 to 1000000 microseconds")
    if quota and 0 < quota < convert.MIN_QUOTA_USEC:
        raise ExplainError(f"--cpu-quota: {quota} is less than 1000 microseconds")
    return max(quota, -1) if quota else None, period or None


def _cpu(options: Options) -> Iterator[Setting]:
    quota, period = _quota(options)
    if quota is not None or period is not None:
        asked = [
            f"--{name} {text}"
            for name in ("cpus", "cpu-period", "cpu-quota")
            if (text := options.last(name)) is not None
        ]
        v2, v1 = quota_lines(quota, period)
        yield Setting(" ".join(asked), v2, v1)
    yield from shares_setting(options)
    runtime, rt_period = _number(options, "cpu-rt-runtime"), _number(options, "cpu-rt-period")
    if runtime and rt_period and runtime > rt_period:
        raise ExplainError(f"--cpu-rt-runtime: {runtime} is more than --cpu-rt-period {rt_period}")
    for name, value in (("cpu-rt-period", rt_period), ("cpu-rt-runtime", runtime)):
        if value:
            yield Setting(
                f"--{name} {value}",
                v1=[Line(f"cpu.{name[4:].replace('-', '_')}_us", str(value))],
                note="v2 has no real-time group scheduling: runc ignores this there, crun fails; "
                "v1 needs CONFIG_RT_GROUP_SCHED",
            )


def shares_setting(options: Options) -> Iterator[Setting]:
    """The setting that ``--cpu-shares`` makes."""
    shares = _number(options, "cpu-shares")
    if not shares:
        return
    if not convert.MIN_SHARES <= shares <= convert.MAX_SHARES:
        raise ExplainError(
            f"--cpu-shares: {shares} is not {convert.MIN_SHARES} to {convert.MAX_SHARES}, "
            "which is what the kernel takes"
        )
    yield Setting(f"--cpu-shares {shares}", weight_lines(shares), [Line("cpu.shares", str(shares))])


def quota_lines(
    quota: int | None, period: int | None, *, kubelet: bool = False
) -> tuple[list[Line], list[Line]]:
    """The files of v2 and v1 that hold a quota, by driver and version where they matter.

    Args:
        quota: microseconds; -1 is none, None is not asked for.
        period: microseconds; None is not asked for.
        kubelet: it is the kubelet who writes them, not a runtime.
    """
    usual = period or convert.PERIOD_USEC
    quotas: list[tuple[int | None, str]] = [(quota, "")]
    if quota and quota > 0 and (rounded := convert.quota_by_systemd(quota, usual)) != quota:
        by = (convert.ROUNDED_BY, convert.EXACT_BY)
        if kubelet:
            by = (convert.KUBELET_ROUNDED_BY, convert.KUBELET_EXACT_BY)
        quotas = [(rounded, by[0]), (quota, by[1])]
    v2 = [
        Line("cpu.max", f"{'max' if value is None or value < 0 else value} {usual}", when)
        for value, when in quotas
    ]
    v1 = [Line("cpu.cfs_period_us", str(period))] if period else []
    v1 += [Line("cpu.cfs_quota_us", str(value), when) for value, when in quotas if value]
    return v2, v1


def weight_lines(shares: int) -> list[Line]:
    """``cpu.weight`` of shares, by runtime where its version matters."""
    linear, quadratic = convert.weight_linear(shares), convert.weight_quadratic(shares)
    if linear == quadratic:
        return [Line("cpu.weight", str(linear))]
    return [
        Line("cpu.weight", str(quadratic), convert.QUADRATIC_BY),
        Line("cpu.weight", str(linear), convert.LINEAR_BY),
    ]


def number_list(name: str, text: str) -> str:
    """A list of CPUs or memory nodes as the kernel prints it: ``0,1,2,5`` is ``0-2,5``."""
    numbers: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last <= _MAX_CPU:
            raise ExplainError(f"--{name}: {text!r} is no list, such as 0-3 or 0,2")
        numbers.update(range(first, last + 1))
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{a}-{b}" if a != b else str(a) for a, b in parts)


def _cpuset(options: Options) -> Iterator[Setting]:
    for name in ("cpuset-cpus", "cpuset-mems"):
        if text := options.last(name):
            line = [Line(name.replace("-", "."), number_list(name, text))]
            yield Setting(f"--{name} {text}", line, line)


class _Memory:
    """The memory options, checked."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.limit = self._size("memory")
        swap = options.last("memory-swap")
        self.swap = -1 if swap == "-1" else self._size("memory-swap")
        self.reservation = self._size("memory-reservation")
        if self.limit and self.limit < MIN_MEMORY:
            raise ExplainError(f"--memory: {options.last('memory')} is less than Docker's 6 MiB")
        if self.limit and self.swap and 0 < self.swap < self.limit:
            raise ExplainError(
                f"--memory-swap: {swap} is less than --memory {options.last('memory')}; it is "
                "the limit of memory and swap together"
            )
        if self.swap and self.swap > 0 and not self.limit:
            raise ExplainError("--memory-swap needs --memory")
        if self.reservation and self.reservation < MIN_MEMORY:
            raise ExplainError(
                f"--memory-reservation: {options.last('memory-reservation')} is less than "
                "Docker's 6 MiB"
            )
        if self.limit and self.reservation and self.limit < self.reservation:
            raise ExplainError("--memory-reservation is more than --memory")
        self.swappiness = _number(options, "memory-swappiness")
        if self.swappiness is not None and not -1 <= self.swappiness <= 100:
            raise ExplainError(f"--memory-swappiness: {self.swappiness} is not 0 to 100")

    def _size(self, name: str) -> int | None:
        text = self._options.last(name)
        return size(name, text) or None if text else None

    @property
    def both(self) -> float:
        """The limit of memory and swap together."""
        if not self.limit or self.swap == -1:
            return math.inf
        return self.swap or 2 * self.limit

    def settings(self) -> Iterator[Setting]:
        """Limits, reservation and swappiness."""
        if self.limit:
            value = convert.pages(self.limit)
            yield Setting(
                f"--memory {self._options.last('memory')}",
                [Line("memory.max", str(value))],
                [Line("memory.limit_in_bytes", str(value))],
                "" if value == self.limit else "the kernel counts whole pages",
            )
            yield self._swap()
        if self.reservation:
            value = convert.pages(self.reservation)
            yield Setting(
                f"--memory-reservation {self._options.last('memory-reservation')}",
                [Line("memory.low", str(value))],
                [Line("memory.soft_limit_in_bytes", str(value))],
                "v2: reclaimed last while below it; v1: reclaimed first while above it",
            )
        if self.swappiness is not None and self.swappiness >= 0:
            yield Setting(
                f"--memory-swappiness {self.swappiness}",
                v1=[Line("memory.swappiness", str(self.swappiness))],
                note="v2 has no swappiness of a cgroup: Docker warns and drops it",
            )

    def _swap(self) -> Setting:
        given = self._options.last("memory-swap")
        asked = f"--memory-swap {given}" if given else "--memory-swap (default: twice --memory)"
        if self.both == math.inf:
            v1, v2 = "max", "max"
        else:
            both = convert.pages(int(self.both))
            v1 = str(both)
            v2 = str(convert.pages(int(convert.swap_max(self.both, self.limit or 0))))
        return Setting(
            asked,
            [Line("memory.swap.max", v2)],
            [Line("memory.memsw.limit_in_bytes", v1)],
            "memory and swap together on v1, swap alone on v2; neither without swap accounting",
        )


def _oom(options: Options) -> Iterator[Setting]:
    if options.on("oom-kill-disable"):
        yield Setting(
            "--oom-kill-disable",
            v1=[Line("memory.oom_control", "oom_kill_disable 1")],
            note="v2 cannot switch the OOM killer off: Docker warns and drops it",
        )
    score = _number(options, "oom-score-adj")
    if score is not None and not -1000 <= score <= 1000:
        raise ExplainError(f"--oom-score-adj: {score} is not -1000 to 1000")
    if score:
        line = [Line("/proc/PID/oom_score_adj", str(score))]
        yield Setting(f"--oom-score-adj {score}", line, line, "of each process, not of the cgroup")


def _pids(options: Options) -> Iterator[Setting]:
    limit = _number(options, "pids-limit")
    if limit is not None and limit > 0:
        line = [Line("pids.max", str(limit))]
        yield Setting(f"--pids-limit {limit}", line, line, "threads count too")
    elif limit is not None:
        line = [Line("pids.max", "max", convert.CGROUPFS)]
        note = "as if not given: with the systemd driver systemd's DefaultTasksMax acts"
        yield Setting(f"--pids-limit {limit}", line, line, note)


_THROTTLES: Mapping[str, tuple[str, str]] = {
    # option: its key in io.max, its file on v1
    "device-read-bps": ("rbps", "blkio.throttle.read_bps_device"),
    "device-write-bps": ("wbps", "blkio.throttle.write_bps_device"),
    "device-read-iops": ("riops", "blkio.throttle.read_iops_device"),
    "device-write-iops": ("wiops", "blkio.throttle.write_iops_device"),
}


def _device(name: str, text: str, devices: Devices) -> tuple[str, str, str]:
    """The path, MAJOR:MINOR and value of ``/dev/vda:1mb``."""
    path, colon, value = text.partition(":")
    if not colon or not path.startswith("/dev/"):
        raise ExplainError(f"--{name}: {text!r} is not /dev/NAME:VALUE")
    found = devices(path)
    if found is not None and found[0] != "b":
        raise ExplainError(f"--{name}: {path} is no block device")
    return path, found[1] if found else f"<MAJOR:MINOR of {path}>", value


def _blkio(options: Options, devices: Devices) -> Iterator[Setting]:
    weight = _number(options, "blkio-weight")
    if weight and not 10 <= weight <= 1000:
        raise ExplainError(f"--blkio-weight: {weight} is not 10 to 1000")
    with_bfq, without_bfq = "I/O scheduler BFQ", "without BFQ"
    with_cfq = "I/O scheduler CFQ, before Linux 5.0"
    if weight:
        yield Setting(
            f"--blkio-weight {weight}",
            [
                Line("io.bfq.weight", f"default {weight}", with_bfq),
                Line("io.weight", f"default {convert.io_weight(weight)}", without_bfq),
            ],
            [Line("blkio.weight", str(weight), with_cfq)],
            "acts only with BFQ or io.cost; on v1 Docker knows CFQ's file alone and else drops it",
        )
    for text in options.each("blkio-weight-device"):
        path, device, value = _device("blkio-weight-device", text, devices)
        if not re.fullmatch("[0-9]{1,4}", value) or not (value == "0" or 10 <= int(value) <= 1000):
            raise ExplainError(f"--blkio-weight-device: {value!r} for {path} is not 10 to 1000")
        yield Setting(
            f"--blkio-weight-device {text}",
            [Line("io.bfq.weight", f"{device} {value}", with_bfq)],
            [Line("blkio.weight_device", f"{device} {value}", with_cfq)],
            "dropped where the file does not exist: by runc on v2, by Docker on v1",
        )
    yield from _throttles(options, devices)


def _throttles(options: Options, devices: Devices) -> Iterator[Setting]:
    limits: dict[str, dict[str, str]] = {}
    found: list[tuple[str, str, str, str]] = []
    for name, (key, file) in _THROTTLES.items():
        for text in options.each(name):
            path, device, value = _device(name, text, devices)
            if name.endswith("bps"):
                rate = size(name, value)
            elif re.fullmatch("[0-9]{1,19}", value):
                rate = int(value)
            else:
                raise ExplainError(f"--{name}: {value!r} for {path} is not a whole number")
            if rate == 0:
                raise ExplainError(
                    f"--{name}: a rate of 0 for {path} is no limit on v1, and the kernel "
                    "refuses it on v2"
                )
            limits.setdefault(device, {})[key] = str(rate)
            found.append((f"--{name} {text}", device, file, str(rate)))
    for asked, device, file, value in found:
        line = " ".join(f"{key}={limits[device].get(key, 'max')}" for key, _ in _THROTTLES.values())
        yield Setting(
            asked,
            [Line("io.max", f"{device} {line}")],
            [Line(file, f"{device} {value}")],
            "of a whole disk, no partition; v1 does not limit buffered writes"
            + (f"; {ONE_IS_REFUSED}" if value == "1" else ""),
        )


def _device_rules(options: Options, devices: Devices) -> Iterator[Setting]:
    note = "v2 has no file: an eBPF program on the cgroup allows devices"
    if options.on("privileged"):
        yield Setting("--privileged", v1=[Line("devices.list", "a *:* rwm")], note=note)
    for rule in options.each("device-cgroup-rule"):
        if not _RULE.fullmatch(rule):
            raise ExplainError(f"--device-cgroup-rule: {rule!r} is not such as 'c 1:3 rwm'")
        yield Setting(f"--device-cgroup-rule '{rule}'", v1=[_rule_line(rule)], note=note)
    for text in options.each("device"):
        path, _, rest = text.partition(":")
        mode = rest.rpartition(":")[2] if rest else "rwm"
        if not path.startswith("/"):  # a name of the Container Device Interface, or on Windows
            yield Setting(f"--device {text}", note="is looked up by Docker; " + note)
            continue
        if mode.startswith("/"):
            mode = "rwm"
        if not re.fullmatch("[rwm]{1,3}", mode):
            raise ExplainError(f"--device: {mode!r} is no mode of r, w and m")
        kind, number = devices(path) or ("<c or b>", f"<MAJOR:MINOR of {path}>")
        yield Setting(f"--device {text}", v1=[_rule_line(f"{kind} {number} {mode}")], note=note)


def _rule_line(rule: str) -> Line:
    kind, number, mode = rule.rsplit(" ", 2)
    # The kernel prints the letters in its own order.
    return Line("devices.list", f"{kind} {number} {''.join(c for c in 'rwm' if c in mode)}")


def _dropped(options: Options) -> Iterator[Setting]:
    if text := options.last("kernel-memory"):
        size("kernel-memory", text)
        yield Setting(
            f"--kernel-memory {text}",
            note="sets nothing: v2 never had it, runc ignores it and newer Docker drops "
            "it; --memory counts kernel memory too",
        )


def _places(parent: str | None) -> tuple[str, str]:
    """Where the container's cgroup is, with the systemd and with the cgroupfs driver."""
    if parent is None:
        return f"/system.slice/docker-{ID}.scope", f"/docker/{ID}"
    clean = parent.rstrip("/")
    cgroupfs = f"{clean}/{ID}" if parent.startswith("/") else f"<cgroup of runc>/{clean}/{ID}"
    if not parent.endswith(".slice") or len(parent) <= 6 or "/" in parent:
        return f"(refused: --cgroup-parent {parent} is no name such as my.slice)", cgroupfs
    return f"{slice_path(parent)}/docker-{ID}.scope", cgroupfs


def slice_path(name: str) -> str:
    """Where systemd puts a slice: ``a-b.slice`` is ``/a.slice/a-b.slice``.

    Raises:
        ExplainError: it is no name of a slice.
    """
    parts = name.removesuffix(".slice").split("-")
    if name == "-.slice":
        return ""
    if not all(parts):
        raise ExplainError(f"{name!r} is no name of a systemd slice")
    return "".join(f"/{'-'.join(parts[: n + 1])}.slice" for n in range(len(parts)))


_OWN = "its own"
_HOST = "the host's"


def _joined(options: Options, name: str, words: Mapping[str, str], default: str) -> str:
    """Whose namespace an option asks for."""
    text = options.last(name)
    if not text:
        return default
    if text in words:
        return words[text]
    who = text.removeprefix("container:")
    if text.startswith("container:") and who and name in ("pid", "ipc", "network"):
        return f"that of container {who}"
    if name == "network":
        return _OWN
    raise ExplainError(
        f"--{name}: {text!r} is not {', '.join(words)}"
        + (" or container:NAME" if name in ("pid", "ipc") else "")
    )


def _namespaces(options: Options) -> Mapping[str, str]:
    cgroup = "its own on v2, the host's on v1 (the daemon's --default-cgroupns-mode decides)"
    if options.on("privileged"):
        cgroup = "its own on v2, the host's on v1, since --privileged"
    shareable = {"private": _OWN, "none": "its own, without /dev/shm", "shareable": _OWN}
    return {
        "cgroup": _joined(options, "cgroupns", {"host": _HOST, "private": _OWN}, cgroup),
        "ipc": _joined(options, "ipc", {"host": _HOST, **shareable}, _OWN),
        "mnt": _OWN,
        "net": _joined(
            options,
            "network",
            {"host": _HOST, "none": "its own, with loopback alone", "bridge": _OWN},
            _OWN,
        ),
        "pid": _joined(options, "pid", {"host": _HOST}, _OWN),
        "time": "the host's, or its own where the daemon's feature time-namespaces is on",
        "user": _joined(
            options,
            "userns",
            {"host": _HOST},
            "the host's, or one for all containers with the daemon's --userns-remap",
        ),
        "uts": _joined(options, "uts", {"host": _HOST}, _OWN),
    }


def _limits(options: Options, memory: _Memory) -> Mapping[str, str]:
    quota, period = _quota(options)
    cores = "max"
    if quota is not None and quota > 0:
        cores = f"{convert.cores(quota, period or convert.PERIOD_USEC):.10g}"
    pids = _number(options, "pids-limit")
    if cpus := options.last("cpuset-cpus"):
        listed = number_list("cpuset-cpus", cpus)
        count = sum(
            int(b or a) - int(a) + 1 for a, _, b in (p.partition("-") for p in listed.split(","))
        )
        cores = str(count) if cores == "max" or float(cores) > count else cores
    limit = "max" if not memory.limit else str(convert.pages(memory.limit))
    return {"cpu": cores, "memory": limit, "pids": str(pids) if pids and pids > 0 else "max"}


def _notes(options: Options) -> list[str]:
    notes = ["the parent cgroup and the machine may allow less than these limits"]
    if runtime := options.last("runtime"):
        notes.append(f"--runtime {runtime}: its version decides how shares become cpu.weight")
    return notes
