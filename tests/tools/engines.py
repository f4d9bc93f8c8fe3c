"""Docker, containerd and Podman started by hand, each with places of its own; no registry."""

import contextlib
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

# Where nobody may raise limits, Podman's own ulimits fail.
_LIMITS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "none"
"""
_PATIENCE_SECONDS = 60.0


def run(*command: str | Path) -> str:
    """Run a command; its output, or a failure with all it said."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def root_file_system(directory: Path) -> Path:
    """Busybox and nothing else."""
    (directory / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, directory / "bin/busybox")
    for applet in ("sh", "sleep"):
        (directory / "bin" / applet).symlink_to("busybox")
    return directory


class Daemons:
    """Programs that run until the end of a test, whatever becomes of it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, socket: Path, *command: str | Path) -> None:
        """Start one and wait for its socket."""
        log = self._home / f"{Path(command[0]).name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command], stdout=output, stderr=output
            )
        self._processes.append(process)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not socket.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def close(self) -> None:
        """Stop all, the last first."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Docker:
    """dockerd with a containerd of its own, and ctr."""

    def __init__(self, home: Path, daemons: Daemons) -> None:
        self.home = home
        self.socket = home / "docker.sock"
        self.data, self.exec = home / "data", home / "exec"
        self.containerd_state = home / "containerd-state"
        self.containerd_root = home / "containerd"
        self.runc_root = home / "ctr-runc"
        self._containerd = home / "containerd.sock"
        self._parent = f"/cgx-{os.getpid()}"
        (home / "containerd.toml").write_text(
            f'version = 2\nroot = "{self.containerd_root}"\nstate = "{self.containerd_state}"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self._containerd}"\n'
        )
        daemons.start(self._containerd, "containerd", "-c", home / "containerd.toml")
        daemons.start(
            self.socket,
            *("dockerd", "--data-root", self.data, "--exec-root", self.exec),
            *("--pidfile", home / "docker.pid", "-H", f"unix://{self.socket}"),
            *("--containerd", self._containerd, "--iptables=false", "--ip6tables=false"),
            *("--bridge=none", "--exec-opt", "native.cgroupdriver=cgroupfs"),
        )
        self._import(root_file_system(home / "image"))

    def _import(self, image: Path) -> None:
        with tarfile.open(self.home / "image.tar", "w") as archive:
            archive.add(image, arcname=".")
        self.docker("import", self.home / "image.tar", "lab:1")
        self.docker("save", "lab:1", "-o", self.home / "lab.tar")

    def docker(self, *words: str | Path) -> str:
        """Run docker's client."""
        return run("docker", "-H", f"unix://{self.socket}", *words)

    def start(self, name: str, *options: str) -> str:
        """Start a container; returns its ID."""
        return self.docker("run", "-d", "--name", name, *options, "lab:1", "/bin/sleep", "1000")

    def ctr(self, *words: str | Path) -> str:
        """Run containerd's own client."""
        return run("ctr", "-a", self._containerd, *words)

    def start_with_ctr(self, name: str) -> None:
        """Start a container with containerd alone."""
        self.ctr("images", "import", self.home / "lab.tar")
        image = "docker.io/library/lab:1"
        self.ctr(
            *("run", "-d", "--runc-root", self.runc_root, "--env", "SECRET=x"),
            *("--label", "team=c", image, name),
            *("/bin/sleep", "1000"),
        )

    def close(self) -> None:
        """Remove all containers."""
        with contextlib.suppress(AssertionError):
            for name in self.ctr("tasks", "ls", "-q").split():
                self.ctr("tasks", "kill", "-s", "9", name)
                self.ctr("tasks", "delete", name)
                self.ctr("containers", "delete", name)
        if ids := self.docker("ps", "-aq").split():
            self.docker("rm", "-f", *ids)


class Podman:
    """Podman, whose containers no daemon keeps."""

    def __init__(self, home: Path, daemons: Daemons, image: Path) -> None:
        self.root, self.socket = home / "storage", home / "podman.sock"
        self.runc_root = home / "runc"
        (home / "containers.conf").write_text(_LIMITS)
        self._command: Sequence[str | Path] = (
            *("env", f"CONTAINERS_CONF={home}/containers.conf", "podman"),
            *("--root", self.root, "--runroot", home / "run"),
            *("--cgroup-manager=cgroupfs", "--runtime=runc"),
            *("--runtime-flag", f"root={self.runc_root}", "--events-backend=none"),
        )
        self.podman("load", "-i", image)
        daemons.start(
            self.socket, *self._command, "system", "service", "-t", "0", f"unix://{self.socket}"
        )

    def podman(self, *words: str | Path) -> str:
        """Run it."""
        return run(*self._command, *words)

    def start(self, name: str, *options: str) -> str:
        """Start a container; returns its ID."""
        return self.podman(
            *("run", "-d", "--name", name, *options),
            *("localhost/lab:1", "/bin/sleep", "1000"),
        ).splitlines()[-1]

    def start_pod(self, name: str, *options: str) -> str:
        """Start a pod with an infra container, and so with a cgroup; returns its ID."""
        made = self.podman(
            *("pod", "create", "--name", name, "--network", "none"),
            *("--infra-image", "localhost/lab:1", "--infra-command", "/bin/sleep 1000", *options),
        )
        self.podman("pod", "start", name)
        return made.splitlines()[-1]

    def close(self) -> None:
        """Remove all containers and pods."""
        self.podman("pod", "rm", "-af", "-t", "0")
        self.podman("rm", "-af", "-t", "0")


def start_with(
    command: Sequence[str | Path], home: Path, root: Path, name: str, cgroup: str
) -> None:
    """Start a container with runc or crun by hand; `command` is how to run it."""
    bundle = home / f"bundle-{name}"
    root_file_system(bundle / "rootfs")
    run(*command, "spec", "--bundle", bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["terminal"] = False
    config["process"]["args"] = ["/bin/sleep", "1000"]
    config["process"]["env"].append("SECRET=x")
    config["process"].pop("rlimits", None)
    config["linux"]["cgroupsPath"] = cgroup
    (bundle / "config.json").write_text(json.dumps(config))
    # A container keeps the descriptors it was started with: a pipe would never end.
    with (bundle / "log").open("w+") as log:
        done = subprocess.run(
            [*command, "--root", root, "run", "-d", "--bundle", bundle, name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
        log.seek(0)
        assert done.returncode == 0, log.read()


def unmount_below(directory: Path) -> None:
    """Unmount all below a directory: Podman leaves its storage mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    for point in reversed([point for point in points if Path(point).is_relative_to(directory)]):
        run("umount", point)


@contextlib.contextmanager
def engines(home: Path) -> Iterator[tuple[Docker, Podman]]:
    """Docker, containerd and Podman for the time of a `with` block."""
    daemons = Daemons(home)
    with contextlib.ExitStack() as stack:
        stack.callback(unmount_below, home)
        stack.callback(daemons.close)
        for name in ("docker", "podman"):
            (home / name).mkdir()
        docker = Docker(home / "docker", daemons)
        stack.callback(docker.close)
        podman = Podman(home / "podman", daemons, docker.home / "lab.tar")
        stack.callback(podman.close)
        yield docker, podman
