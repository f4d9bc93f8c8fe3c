"""A virtual machine of the laboratory: qemu with software emulation, spoken to by ssh.

The guest reaches nothing outside itself (`restrict=on`); from here it is reached on ports of
loopback alone. Its disks are laid over the image's, which stays as it is.
"""

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.image import Image

# Program → Debian package, of what it takes to run one.
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ssh": "openssh-client",
    "setpriv": "util-linux",
    "nice": "coreutils",
    "docker": "docker.io",
}
_DISKS = ("root", "scratch")
# Nothing newer than programs need: what qemu must translate is shorter without AVX.
_MACHINE = (
    *("-nodefaults", "-no-user-config", "-no-reboot", "-M", "q35", "-smp", "2", "-m", "3072"),
    *("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem,+rdrand"),
)
# By what the guest knows the disk with the program, wherever among the others it is.
_PROGRAM = "virtio-blk-pci,drive=program,serial=cgexporter"
PROGRAM_DEVICE = "/dev/disk/by-id/virtio-cgexporter"
# One whose state is saved is without the program, by a disk of the same size.
PROGRAM_BYTES = 64 << 20
# With addresses at random qemu translates each program anew each time that it is started, which
# takes three times as long as to run it.
_KERNEL = (
    "console=ttyS0 root=/dev/vda rw psi=1 apparmor=0 quiet loglevel=4 net.ifnames=0 "
    "mitigations=off random.trust_cpu=on no_timer_check norandmaps tsc=reliable"
)
# systemd's own switches: v1 controllers with a v2 tree beside, or v1 alone.
_HYBRID = "systemd.unified_cgroup_hierarchy=0"
HIERARCHIES = {
    "v2": "systemd.unified_cgroup_hierarchy=1",
    "hybrid": _HYBRID,
    "v1": f"{_HYBRID} systemd.legacy_systemd_cgroup_controller=1",
}
EXPORTER_PORT = 9753
_BOOT_SECONDS = 300.0
# A kernel that boots learns by looks at another clock how fast its own is; where this machine has
# no time for it meanwhile, that is twice too fast.
_BOOTS = 3
_CLOCK_SECONDS = 3.0
_CLOCK_TOLERANCE = 0.1
# Of qemu: behind what runs here and waits for it; or before all others, which takes root. A guest
# does not see that others take its CPU, so that one in which is looked who waits for a CPU must
# have it whenever it wants.
NICENESS, FIRST = 5, -20


def kernel_line(hierarchy: str) -> str:
    """What the kernel is started with."""
    return f"{_KERNEL} {HIERARCHIES[hierarchy]}"


def recipe(hierarchy: str) -> str:
    """What must be the same for a saved state to go on."""
    version = subprocess.run(
        ["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    disk = f"{_PROGRAM} {PROGRAM_BYTES}"
    return " ".join((version, *_MACHINE, disk, kernel_line(hierarchy)))


class GuestError(Exception):
    """A command in the guest failed, or the guest itself did."""


@dataclass
class Guest:
    """One machine; `home` holds its disks and logs while it runs."""

    image: Image
    home: Path
    hierarchy: str = "v2"
    # A tar file that the guest sees as /dev/vdc.
    archive: Path | None = None
    # What /dev/vdb holds at first; empty without it.
    scratch: Path | None = None
    # For the kernel and systemd, beside what the hierarchy needs.
    words: tuple[str, ...] = ()
    # A file system of `PROGRAM_BYTES`; an empty disk without it.
    program: Path | None = None
    niceness: int = NICENESS
    _ports: tuple[int, int] = field(default=(0, 0), init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    # -- its life ---------------------------------------------------------------------------

    def start(self, saved: Path | None = None) -> None:
        """Boot it, or go on where a saved state of the same kind of guest stopped.

        Raises:
            GuestError: it does not answer, or its clock runs too fast or too slowly.
        """
        if saved is not None:
            self._start(saved)
            self.run(f"date -s @{time.time():.0f}")  # its clock stood still
            return
        for _ in range(_BOOTS):
            self._start(None)
            rate = self._clock_rate()
            if abs(rate - 1) < _CLOCK_TOLERANCE:
                return
            self.stop()
        raise GuestError(f"its clock runs {rate:.2f} times as fast as the one here")

    def _clock_rate(self) -> float:
        """Seconds there in a second here."""
        here, there = self._clocks()
        time.sleep(_CLOCK_SECONDS)
        here_later, there_later = self._clocks()
        return (there_later - there) / (here_later - here)

    def _clocks(self) -> tuple[float, float]:
        """Seconds here, in the middle of being asked, and there."""
        asked = time.monotonic()
        there = float(self.run("date +%s.%N"))
        return (asked + time.monotonic()) / 2, there

    def _start(self, saved: Path | None) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        for disk in _DISKS:
            file = self.home / f"{disk}.qcow2"
            if saved is not None:
                subprocess.run(["cp", "--sparse=always", saved / file.name, file], check=True)
            elif (base := {"root": self.image.disk, "scratch": self.scratch}[disk]) is not None:
                words = ("-F", "raw", "-b", str(base))
                _call("qemu-img", "create", "-q", "-f", "qcow2", *words, str(file))
            else:
                _call("qemu-img", "create", "-q", "-f", "qcow2", str(file), "4G")
        if self.program is None:
            self.program = self.home / "program.img"
            self.program.touch()
            os.truncate(self.program, PROGRAM_BYTES)
        self._ports = _free_port(), _free_port()
        nice = ("nice", "-n", f"{self.niceness}")
        with (self.home / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                # It ends with whoever started it, even if that is killed.
                [*nice, "setpriv", "--pdeathsig", "KILL", "--", *self._command(saved is not None)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # Niceness counts within a session, that of the session between them: sched(7), autogroup.
        session = Path(f"/proc/{self._process.pid}/autogroup")
        if session.exists() and (self.niceness >= 0 or os.geteuid() == 0):
            session.write_text(f"{self.niceness}")
        self._wait_until_reached()

    def _command(self, resumes: bool) -> list[str]:
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{outside}-:{inside}"
            for outside, inside in zip(self._ports, (22, EXPORTER_PORT), strict=True)
        )
        command = [
            *("qemu-system-x86_64", *_MACHINE, "-display", "none"),
            *("-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd)),
            *("-append", " ".join((kernel_line(self.hierarchy), *self.words))),
            *("-netdev", f"user,id=n0,restrict=on{forwards}"),
            *("-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "virtio-rng-pci"),
            *("-serial", f"file:{self.home}/console.log"),
            *("-qmp", f"unix:{self.home}/qmp.sock,server=on,wait=off"),
        ]
        for disk in _DISKS:
            file = f"{self.home}/{disk}.qcow2"
            command += ["-drive", f"file={file},if=none,id={disk},cache=unsafe,discard=unmap"]
            command += ["-device", f"virtio-blk-pci,drive={disk}"]
        if self.archive is not None:
            command += ["-drive", f"file={self.archive},if=none,id=a,format=raw,readonly=on"]
            command += ["-device", "virtio-blk-pci,drive=a"]
        command += ["-drive", f"file={self.program},if=none,id=program,format=raw,readonly=on"]
        command += ["-device", _PROGRAM]
        return [*command, "-loadvm", "saved"] if resumes else command

    def _wait_until_reached(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _BOOT_SECONDS
        while True:
            if self._process.poll() is not None:
                raise GuestError(f"qemu ended: {(self.home / 'qemu.log').read_text()}")
            if time.monotonic() > deadline:
                console = (self.home / "console.log").read_text(errors="replace")
                raise GuestError(f"no answer after {_BOOT_SECONDS:.0f} s:\n{console[-3000:]}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                if (
                    subprocess.run(
                        [*self._ssh(), "true"], check=False, capture_output=True, timeout=15
                    ).returncode
                    == 0
                ):
                    return
            time.sleep(0.2)

    def save(self, target: Path) -> None:
        """Keep its state, memory included, in a folder, and end it."""
        if said := self._qmp("human-monitor-command", **{"command-line": "savevm saved"}):
            raise GuestError(f"savevm: {said}")
        self.stop()
        target.mkdir(parents=True)
        for disk in _DISKS:
            shutil.move(self.home / f"{disk}.qcow2", target)

    def stop(self) -> None:
        """End it, as one pulls a plug."""
        if self._process is None:
            return
        subprocess.run([*self._ssh(), "-O", "exit"], check=False, capture_output=True)
        self._process.kill()
        self._process.wait()
        self._process = None

    def _qmp(self, command: str, **arguments: object) -> Any:
        """Ask qemu itself. Source: qemu's docs/interop/qmp-spec.rst."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(300)
            channel.connect(f"{self.home}/qmp.sock")
            lines = channel.makefile("rw")
            lines.readline()  # its greeting

            def ask(name: str, given: dict[str, object]) -> Any:
                lines.write(json.dumps({"execute": name, "arguments": given}) + "\n")
                lines.flush()
                while True:
                    answer = json.loads(lines.readline())  # or an event
                    if "error" in answer:
                        raise GuestError(f"{name}: {answer['error']}")
                    if "return" in answer:
                        return answer["return"]

            ask("qmp_capabilities", {})
            return ask(command, arguments)

    def slow_down(self, disk: str, bytes_per_second: int) -> None:
        """Let a disk move so much, as a slow one; 0 for as much as it can."""
        rates = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        self._qmp("block_set_io_throttle", device=disk, bps=bytes_per_second, **rates)

    # -- talking to it ----------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of an exporter that listens on all addresses of the guest at `EXPORTER_PORT`."""
        return f"http://127.0.0.1:{self._ports[1]}"

    def _ssh(self, *options: str) -> list[str]:
        settings = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ConnectTimeout": "5",
            "ServerAliveInterval": "30",
            "ServerAliveCountMax": "20",
            "ControlMaster": "auto",
            "ControlPersist": "yes",
            "ControlPath": f"{self.home}/s",
        }
        words = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        identity = ("-i", str(self.image.key), "-p", str(self._ports[0]))
        return ["ssh", *options, *identity, *words, "root@127.0.0.1"]

    def run(self, command: str, *, timeout: float = 240, stdin: bytes | None = None) -> str:
        """Run a shell command line in the guest; what it prints, without the last newline.

        Raises:
            GuestError: it failed; with all that it said.
        """
        done = subprocess.run(
            [*self._ssh(), command],
            input=b"" if stdin is None else stdin,
            capture_output=True,
            check=False,
            timeout=timeout,
        )
        output = done.stdout.decode(errors="surrogateescape")
        if done.returncode:
            errors = done.stderr.decode(errors="replace")
            raise GuestError(f"{command}\nexit status {done.returncode}\n{output}{errors}")
        return output.rstrip("\n")

    def json(self, command: str, *, timeout: float = 240, stdin: bytes | None = None) -> Any:
        """Run a command that prints JSON."""
        return json.loads(self.run(command, timeout=timeout, stdin=stdin))

    def script(self, file: Path, *arguments: str, timeout: float = 240) -> str:
        """Run a script of this folder in the guest, by bash or python3."""
        interpreter = "python3 -" if file.suffix == ".py" else "bash -s --"
        return self.run(
            f"{interpreter} {shlex.join(arguments)}", stdin=file.read_bytes(), timeout=timeout
        )

    def put(self, files: Sequence[Path], directory: str) -> None:
        """Copy files or folders into a directory of the guest."""
        places = [word for file in files for word in ("-C", str(file.parent), file.name)]
        archive = subprocess.run(["tar", "cf", "-", *places], capture_output=True, check=True)
        target = shlex.quote(directory)
        self.run(f"mkdir -p {target} && tar xf - -C {target} --no-same-owner", stdin=archive.stdout)

    def get(self, path: str, directory: Path) -> None:
        """Copy a file or folder of the guest into a directory here."""
        parent, _, name = path.rstrip("/").rpartition("/")
        done = subprocess.run(
            [*self._ssh(), f"tar cf - -C {shlex.quote(parent or '/')} {shlex.quote(name)}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["tar", "xf", "-", "-C", str(directory), "--no-same-owner"],
            input=done.stdout,
            check=True,
        )

    @contextlib.contextmanager
    def tunnel(self, *forwards: str) -> Iterator[None]:
        """Keep forwards of ssh, such as ``-R 127.0.0.1:1:127.0.0.1:2``, for a `with` block."""
        options = ("-N", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes")
        process = subprocess.Popen(self._ssh(*options, *forwards), stdin=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _call(*command: str) -> None:
    subprocess.run(command, check=True)
