r"""What a cgroup path alone proves: level, runtime, driver, container, pod and QoS class.

Runtimes hand the kernel names that hold their IDs, and those names are all this module reads:
no file, no socket, no privilege. Where the forms come from:

* runc and crun: ``<prefix>-<name>.scope`` with the systemd driver, the path as it is with cgroupfs;
  crun puts the limits on ``container`` below the scope.
* kubelet: ``kubepods[-<qos>]-pod<uid>.slice``, "-" of the UID written "_", or
  ``kubepods[/<qos>]/pod<uid>``, below whatever ``--cgroup-root`` says.
* Podman: ``libpod-<id>``, ``libpod-payload-<id>`` (``--cgroups=split``, so Quadlet), pods
  ``<slice>-libpod_pod_<id>.slice`` or ``/libpod_parent/<id>``.
* liblxc: ``lxc.payload.<name>``, before 4.0 ``lxc/<name>``. systemd-nspawn(1) on ``payload``.

Anyone may give a cgroup such a name where he may make one, so a path says what a cgroup claims to
be. It cannot hide where it lies: what is made inside a container names that container as parent.
"""

import enum
import re
from dataclasses import dataclass, replace


class Level(enum.Enum):
    """For which kind of thing a cgroup is published, if at all."""

    CONTAINER = "container"  # the cgroup of one container
    POD = "pod"  # a Kubernetes pod's or Podman pod's cgroup
    CGROUP = "cgroup"  # root, slices (QoS tiers too), services, scopes, plain cgroups
    INSIDE = "inside"  # below a container, pod, service or scope: payload, not published by itself
    OTHER = "other"  # runtime monitors, *.mount units and the like: not published


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a cgroup stands. None where the path proves nothing.

    Below a container or pod, INSIDE repeats all that is said of it, so a process deep in a
    container leads to the container. A container inside a container is in no pod unless one of
    its own lies between them.
    """

    level: Level
    # What manages it, as in kube-state-metrics' "containerd://<id>"; also "lxc", "libvirt-lxc",
    # "systemd-nspawn", "runc", "crun". nerdctl is a client: its containers are containerd's.
    runtime: str | None = None
    driver: str | None = None  # "systemd" or "cgroupfs": what made this cgroup
    # 64 hex digits; 25 base-36 digits for a build step, <task>-<number> on Fargate. For runc and
    # crun used alone it is any name their user chose, which they call the container's ID.
    container_id: str | None = None
    container_name: str | None = None  # LXC and nspawn name their cgroups by it
    pod_uid: str | None = None  # with dashes; a static pod's 32 hex digits; Podman's 64
    qos_class: str | None = None  # "Guaranteed", "Burstable", "BestEffort"; None for the tiers
    sandbox: bool = False  # True where proven; a pause container usually looks like any other
    pod_path: str | None = None  # POD: its own; CONTAINER: of the pod it lies in
    container_path: str | None = None  # CONTAINER: its own; INSIDE: of its container
    parent_path: str | None = None  # of the enclosing container, when nested


def classify(path: str) -> Place:
    """Say what `path` proves: as in /proc/PID/cgroup behind the second colon, any characters.

    The innermost container and pod win. Each prefix the result names (``pod_path``,
    ``container_path``, ``parent_path``) is itself classified as just that.
    """
    place = _CGROUP
    grand = above = ""  # the two names before, but none from outside a container
    end = -1
    for name in path.split("/"):
        end += 1 + len(name)
        place = _step(place, name, above, grand, path[:end])
        grand, above = ("", "") if place.level is Level.CONTAINER else (above, name)
    return place


_CGROUP = Place(level=Level.CGROUP)
_INSIDE = Place(level=Level.INSIDE)
_OTHER = Place(level=Level.OTHER)

_RUNTIMES = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
}
_QOS = {"kubepods": "Guaranteed", "burstable": "Burstable", "besteffort": "BestEffort"}

_ID = "[0-9a-f]{64}"
_BUILD_ID = "[0-9a-z]{25}"  # BuildKit in dockerd: docker-<id>.scope, /docker/buildkit/<id>
# Kubernetes promises no form for UIDs; what stands around them is proof enough.
_POD_UID = "[0-9a-zA-Z_-]{1,64}"

_BARE = re.compile(_ID)
_BUILD = re.compile(_BUILD_ID)
_FARGATE = re.compile("[0-9a-f]{32}-[0-9]+")
_ENGINE_SCOPE = re.compile(
    rf"(?P<prefix>docker|cri-containerd|nerdctl|crio|libpod)-(?P<id>{_ID})\.scope"
    rf"|docker-(?P<build>{_BUILD_ID})\.scope"
)
_OCI_SCOPE = re.compile(r"(?P<runtime>runc|crun)-(?P<id>.+)\.scope", re.DOTALL)
_DIRECTORY = re.compile(rf"(?P<prefix>crio|libpod|libpod-payload)-(?P<id>{_ID})")
# A runtime without the systemd driver below a kubelet or engine with it takes "slice:prefix:name"
# for a path: one directory, often in the runtime's own service and not in the pod's slice.
_COLONS = re.compile(
    rf"(?P<slice>.*):(?P<prefix>docker|cri-containerd|nerdctl|crio|libpod):(?P<id>{_ID})", re.DOTALL
)
_POD_SLICE = re.compile(
    rf"(?:.+-)?kubepods(?:-(?P<qos>burstable|besteffort))?-pod(?P<uid>{_POD_UID})\.slice", re.DOTALL
)
_POD_DIRECTORY = re.compile(f"pod(?P<uid>{_POD_UID})")
_PODMAN_POD = re.compile(rf"(?:.+-)?libpod_pod_(?P<id>{_ID})\.slice", re.DOTALL)
_NSPAWN_SERVICE = re.compile(r"systemd-nspawn@(?P<name>.+)\.service", re.DOTALL)
_MACHINE_SCOPE = re.compile(r"machine-(?P<name>.+)\.scope", re.DOTALL)
_LIBVIRT = re.compile("qemu-|ch-[0-9]+-|(?P<lxc>lxc-[0-9]+-)")
_ESCAPES = re.compile(r"(?:\\x[0-9a-f]{2})+")
_LXC = re.compile(r"lxc\.payload\.(?P<name>.+)", re.DOTALL)
_NOT_PUBLISHED = re.compile(
    r"(?:crio|libpod)-conmon-.+|conmon|lxc\.monitor(?:\..+)?|lxc\.pivot"
    r"|kata_overhead"  # the virtual machine monitors of Kata's sandboxes
    r"|.+\.(?:mount|swap|socket)",
    re.DOTALL,
)
# nspawn itself and LXC's monitor live beside their payload, in the host's namespaces.
_MONITORS = {("systemd-nspawn", "supervisor"), ("lxc", "monitor")}
_JOB = re.compile("job_[0-9]+")


def _step(outer: Place, name: str, above: str, grand: str, path: str) -> Place:
    """Place `path`, whose last component is `name`, below `outer`."""
    if outer.level is Level.OTHER:
        return outer
    in_container = outer.container_path is not None
    enclosing = outer.container_path or outer.parent_path
    if pod := _pod(name, above, grand):
        return replace(pod, pod_path=path, parent_path=enclosing)
    if found := _container(name, above, grand, outer):
        pod = found if in_container or outer.pod_path is None else outer
        uid, qos, pod_path = pod.pod_uid, pod.qos_class, pod.pod_path
        found = replace(found, pod_uid=uid, qos_class=qos, pod_path=pod_path)
        return replace(found, container_path=path, parent_path=enclosing)
    if outer.level is Level.CONTAINER and (outer.runtime, name) in _MONITORS:
        return _OTHER
    # Inside a container even these are its payload: their use is charged to it.
    if not in_container and _NOT_PUBLISHED.fullmatch(name):
        return _OTHER
    if outer.level is Level.CGROUP:
        # systemd makes no cgroups below a service or scope. On v2 Slurm keeps its jobs in a scope:
        # a job is worth a series, its steps are not.
        job = above.endswith("slurmstepd.scope") and _JOB.fullmatch(name)
        payload = above.endswith((".service", ".scope")) or _JOB.fullmatch(above)
        return _INSIDE if payload and not job else outer
    # Directly below a pod only containers are expected. What else is there is part of the pod's
    # sum and nothing more: Kata's kata_<sandbox>, whose containers' cgroups are in the guest.
    return outer if outer.level is Level.INSIDE else replace(outer, level=Level.INSIDE)


def _pod(name: str, above: str, grand: str) -> Place | None:
    if name.endswith(".slice"):
        if match := _PODMAN_POD.fullmatch(name):
            return Place(level=Level.POD, runtime="podman", driver="systemd", pod_uid=match["id"])
        return _pod_slice(name)
    if above == "kubepods" or (grand == "kubepods" and above in _QOS):
        if match := _POD_DIRECTORY.fullmatch(name):
            uid, qos = match["uid"], _QOS[above]
            return Place(level=Level.POD, driver="cgroupfs", pod_uid=uid, qos_class=qos)
    elif above == "libpod_parent" and _BARE.fullmatch(name):
        # Containers there are libpod-<id>. Below another --cgroup-parent such a pod cannot be
        # told from a container.
        return Place(level=Level.POD, runtime="podman", driver="cgroupfs", pod_uid=name)
    return None


def _pod_slice(name: str) -> Place | None:
    if match := _POD_SLICE.fullmatch(name):
        uid, qos = match["uid"].replace("_", "-"), _QOS[match["qos"] or "kubepods"]
        return Place(level=Level.POD, driver="systemd", pod_uid=uid, qos_class=qos)
    return None


def _container(name: str, above: str, grand: str, outer: Place) -> Place | None:
    if match := _LXC.fullmatch(name):
        return _made("lxc", "cgroupfs", name=match["name"])
    if name and above in ("lxc", "lxc.payload"):
        return _made("lxc", "cgroupfs", name=name)
    if name.endswith((".scope", ".service")):
        return _unit(name)
    if match := _DIRECTORY.fullmatch(name):
        found = _made(_RUNTIMES[match["prefix"]], "cgroupfs", match["id"])
        # CRI-O runs no pause process where it can do without, and then makes a cgroup for the
        # sandbox itself, not through systemd, beside the containers' scopes.
        in_pod_slice = outer.level is Level.POD and outer.driver == "systemd"
        return replace(found, sandbox=in_pod_slice and match["prefix"] == "crio")
    if match := _COLONS.fullmatch(name):
        found = _made(_RUNTIMES[match["prefix"]], "cgroupfs", match["id"])
        pod = _pod_slice(match["slice"]) or found
        return replace(found, pod_uid=pod.pod_uid, qos_class=pod.qos_class)
    return _bare(name, above, grand, outer)


def _bare(name: str, above: str, grand: str, outer: Place) -> Place | None:
    """An ID and nothing else, as the cgroupfs driver leaves it."""
    runtime = None
    if _BARE.fullmatch(name):
        # Only runtimes are known to name cgroups so, and with Docker's --cgroup-parent the parent
        # may be anything. The risk: whoever may make cgroups outside services and containers can
        # pass one off as a container.
        free = outer.level is Level.CGROUP and not above.endswith(".service")
        if "docker" in (above, grand) or grand == "ecs":
            runtime = "docker"
        elif above == "k8s.io":
            runtime = "containerd"
        elif not free and outer.level is not Level.POD:
            return None
    elif above == "buildkit" and grand == "docker" and _BUILD.fullmatch(name):
        runtime = "docker"
    elif "ecs" not in (above, grand) or not _FARGATE.fullmatch(name):
        return None
    return _made(runtime, "cgroupfs", name)


def _unit(name: str) -> Place | None:
    """A service or scope. Any other may hold a container too, but its name does not prove it."""
    if match := _ENGINE_SCOPE.fullmatch(name):
        runtime = _RUNTIMES[match["prefix"] or "docker"]
        return _made(runtime, "systemd", match["id"] or match["build"])
    if match := _OCI_SCOPE.fullmatch(name):
        return _made(match["runtime"], "systemd", match["id"])
    if match := _NSPAWN_SERVICE.fullmatch(name):
        return _made("systemd-nspawn", "systemd", name=_unescape(match["name"]))
    if match := _MACHINE_SCOPE.fullmatch(name):
        machine = _unescape(match["name"])
        libvirt = _LIBVIRT.match(machine)
        if libvirt is None:  # newer systemd-vmspawn names virtual machines' scopes so too
            return _made("systemd-nspawn", "systemd", name=machine)
        if libvirt["lxc"]:
            return _made("libvirt-lxc", "systemd", name=machine[libvirt.end() :])
    return None


def _made(
    runtime: str | None, driver: str, container_id: str | None = None, *, name: str | None = None
) -> Place:
    found = Place(level=Level.CONTAINER, runtime=runtime, driver=driver)
    return replace(found, container_id=container_id, container_name=name)


def _unescape(name: str) -> str:
    r"""Undo ``\xNN``. systemd also writes "/" as "-", but no machine's name has a "/"."""
    return _ESCAPES.sub(
        lambda run: bytes.fromhex(run[0].replace(r"\x", "")).decode(errors="surrogateescape"), name
    )
