"""The disk of a Debian host with container engines, made from packages: no registry, no loop mount.

mmdebstrap unpacks the packages, files of ``root/`` are laid over them, mke2fs makes the disk. The
kernel is only unpacked: with an initramfs of busybox and four modules no update-initramfs is
needed, and the host is up in half the time.
"""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.tools.cache import ROOT, digest, forget_others, making

_HERE = Path(__file__).parent
_OVERLAY = _HERE / "root"
_KERNEL = "linux-image-cloud-amd64"
_DISK = "6G"  # sparse
_PACKAGES = (
    *("passwd", "systemd", "systemd-sysv", "dbus", "dbus-user-session", "udev", "kmod"),
    *("libpam-systemd", "procps", "iproute2", "iptables", "nftables", "ethtool", "conntrack"),
    *("openssh-server", "python3-minimal", "python3", "python3-venv", "python3-pip"),
    *("ca-certificates", "containerd", "runc", "crun", "docker.io", "podman", "uidmap"),
    *("containernetworking-plugins", "slirp4netns", "fuse-overlayfs", "systemd-container"),
    *("busybox-static", "stress-ng", "fio", "jq", "curl", "psmisc", "socat"),
    *("e2fsprogs", "util-linux", "mount"),
)
_UNPACK_KERNEL = """
mkdir "$1/tmp/k" && cd "$1/tmp/k"
chroot "$1" sh -c "cd /tmp/k && apt-get download \
  $(chroot "$1" apt-cache depends KERNEL | sed -n 's/.*Depends: \\(linux-image-[0-9].*\\)/\\1/p')"
# Straight into the root, dpkg-deb would make a directory of the link /lib.
dpkg-deb -x ./linux-image-*.deb x
cp -a x/lib/modules "$1/usr/lib/"
cp -a x/boot/. "$1/boot/"
cd / && rm -r "$1/tmp/k"
""".replace("KERNEL", _KERNEL)
_INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t devtmpfs d /dev
for module in $($b cat /modules/order); do $b insmod /modules/$module; done
n=0; while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do $b sleep 0.1; n=$((n+1)); done
$b mount -t ext4 -o rw,noatime /dev/vda /mnt || exec $b sh
$b umount /proc; $b umount /sys; $b mount --move /dev /mnt/dev
exec $b switch_root /mnt /sbin/init
"""
_MODULES = ("virtio_pci", "virtio_blk", "virtio_rng", "ext4", "crc32c_generic")
# What is periodic, delays the start or disturbs a test; engines start when a test wants them.
_DISABLED = (
    *("docker.service", "docker.socket", "containerd.service", "nftables.service"),
    *("podman.service", "podman.socket", "podman-restart.service", "getty@tty1.service"),
    *("podman-auto-update.timer", "podman-auto-update.service", "e2scrub_reap.service"),
)
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("dpkg-db-backup.timer", "systemd-networkd-wait-online.service"),
    *("systemd-hwdb-update.service", "systemd-journal-flush.service"),
    *("systemd-update-utmp.service", "systemd-random-seed.service", "systemd-pstore.service"),
)
# Program → Debian package, of what it takes to make the disk.
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "cpio": "cpio",
    "modprobe": "kmod",
    "ssh-keygen": "openssh-client",
    "busybox": "busybox-static",
}


@dataclass(frozen=True, slots=True)
class Image:
    """Files of one image; `home` is its folder."""

    home: Path

    @property
    def disk(self) -> Path:
        """The root file system; never written to."""
        return self.home / "root.img"

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.home / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initramfs."""
        return self.home / "initrd.img"

    @property
    def key(self) -> Path:
        """Of root, for ssh."""
        return self.home / "id_ed25519"

    @property
    def python(self) -> str:
        """Version of the guest's Python, such as 3.11."""
        return (self.home / "python").read_text()


def image() -> Image:
    """Where the image is once it is built."""
    key = digest(_HERE / "image.py", _OVERLAY, *_sources())
    return Image(ROOT / "images" / key)


def _sources() -> list[Path]:
    """The host's own places of packages, which are the guest's too."""
    places = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    return [place for place in places if place.exists()][:1]


def build() -> Image:
    """The image, built if it is not there yet: about a minute.

    Raises:
        RuntimeError: a step failed; with the end of what it said.
    """
    made = image()
    with making(made.home) as home:
        if home is not None:
            home.mkdir()
            with tempfile.TemporaryDirectory(dir=home) as rootfs:
                _build(Image(home), Path(rootfs))
    forget_others(made.home, "[0-9a-f]*")
    return made


def _build(made: Image, root: Path) -> None:
    root.chmod(0o755)
    release = Path("/etc/os-release").read_text()
    suite = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    if suite is None or not _sources():
        raise RuntimeError("this is no Debian: its packages and places of packages are needed")
    _run(
        *("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(_PACKAGES)}"),
        *("--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Languages none"),
        "--dpkgopt=force-unsafe-io",
        *(
            f"--dpkgopt=path-exclude=/usr/share/{name}/*"
            for name in ("man", "doc", "info", "locale")
        ),
        *(f"--customize-hook={_UNPACK_KERNEL}", suite[1], str(root), str(_sources()[0])),
    )
    (version,) = (path.name for path in (root / "usr/lib/modules").iterdir())
    _run("depmod", "-b", str(root), version)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(made.key))
    _configure(root, made.key.with_suffix(".pub"))
    made.home.joinpath("python").write_text(os.readlink(root / "usr/bin/python3")[len("python") :])
    shutil.copy(root / f"boot/vmlinuz-{version}", made.kernel)
    _make_initrd(root, version, made.initrd)
    with made.disk.open("wb") as disk:
        disk.truncate(int(_DISK[:-1]) << 30)
    # Neither journal nor checksums: no image is ever written to, only what is laid over it.
    _run(
        *("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum", "-m", "0"),
        *("-E", "lazy_itable_init=0,nodiscard", "-L", "root", "-d", str(root), str(made.disk)),
    )


def _configure(root: Path, public_key: Path) -> None:
    """Settle the guest's files; nothing runs there yet."""
    for file in sorted(path for path in _OVERLAY.rglob("*") if path.is_file()):
        target = root / file.relative_to(_OVERLAY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(public_key, ssh / "authorized_keys")
    for command in (
        ("passwd", "-d", "root"),
        ("useradd", "-m", "-s", "/bin/bash", "-u", "1000", "lab"),  # for rootless containers
        ("useradd", "--system", "dockremap"),  # of dockerd --userns-remap
        ("ssh-keygen", "-A"),
        # Native here, twelve times slower in the guest.
        ("python3", "-m", "venv", "/opt/cgexporter"),
    ):
        _run("chroot", str(root), *command)
    for name in ("subuid", "subgid"):
        (root / "etc" / name).write_text("lab:100000:65536\ndockremap:200000:65536\n")
    linger = root / "var/lib/systemd/linger"
    linger.mkdir(parents=True, exist_ok=True)
    (linger / "lab").touch()
    units = root / "etc/systemd/system"
    network = units / "multi-user.target.wants/systemd-networkd.service"
    network.unlink(missing_ok=True)
    network.symlink_to("/lib/systemd/system/systemd-networkd.service")
    for unit in (*_DISABLED, *_MASKED):
        for link in units.glob(f"*.wants/{unit}"):
            link.unlink()
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")


def _make_initrd(root: Path, version: str, target: Path) -> None:
    """An initramfs with what it takes to mount the disk."""
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        top = Path(name)
        for directory in ("bin", "dev", "proc", "sys", "mnt", "modules"):
            (top / directory).mkdir()
        shutil.copy(root / "bin/busybox", top / "bin/busybox")
        (top / "init").write_text(_INIT)
        (top / "init").chmod(0o755)
        order: list[str] = []
        for module in _MODULES:
            said = _run("modprobe", "-d", str(root), "-S", version, "--show-depends", module)
            for file in re.findall(r"^insmod (\S+)", said, re.MULTILINE):
                if Path(file).name not in order:
                    order.append(Path(file).name)
                    shutil.copy(file, top / "modules")
        (top / "modules/order").write_text("\n".join(order))
        with target.open("wb") as output:
            subprocess.run(
                ["sh", "-c", "find . | cpio -o -H newc --quiet | gzip -1"],
                cwd=top,
                stdout=output,
                check=True,
            )


def _run(*command: str) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise RuntimeError(f"{command[0]} failed:\n{end}")
    return done.stdout
