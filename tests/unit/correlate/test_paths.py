r"""Cgroup paths of real hosts, and what each proves.

Where a path comes from is its ID's first word: ``v2``, ``hybrid``, ``v1``, ``k8s`` are captures of
the lab (Debian 12 guests; v1 with the cgroupfs driver: its host); a project's name means the form
is written in that project's source, documentation or tests, filled with made-up IDs.
"""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgexporter.correlate.paths import Level, Place, classify

A, B = "a1" * 32, "b2" * 32
UID = "6379596c-6187-4328-83db-f6b7731d4741"
UID_ = UID.replace("-", "_")
TASK = "34dc0b5e626f2c5c4c5170e34b10e765"

# Captured IDs.
D_CPU = "8714cc23d00282e75e1f1210381f4a61db12858c635d7dd64f30d314b7c4e6ed"
D_HOST = "13050a15f7a62ca2a49bae078c9f46f301eea64bc7fffe8537b6629f56e4c838"
D_V1 = "d1e891510a7222ce4672bff9064db47009cf4a85b47ed17a3def600e5b59b2a9"
D_BARE = "b987b3a1a2a637e1a14506ef8e4ab53f3361b0d30dd587307e39f612d265551a"
P_CPU = "847ddf70a7e5b69c7dce14dc5f34797280636047514589bab0110f8e15efe13b"
P_POD = "c779faf11983c5bd16af1714862badabee81d1c56893ea9f363948a3993fa9ad"
P_INPOD = "a36e0b7898b177ec49a14e56579f229bf701bdf7fa6e4b9c34fd3127fb116319"
P_ROOTLESS = "0b63bb1b73d330c8cfd470cadc30d58c4349af1c01dcf2ce9fa49d08c9b16cdc"
P_V1 = "1f3c8b1b0ebf240890d8e956749ba711d75a87e90218641fe125fd02c8413c14"
P_HYBRID = "402b756128862e212da07546331057b238dc5d26cd504e8965db83b6afbf9421"
K_BURST = "f8cc91c7aae2dc1d5f91b95ac67360cd534668c626a5a004a7a536b7ef1d716d"
K_PAUSE = "35b390fec0528143fee7156c906c6993fe91cfe6902f273afff08c33dd10a3b7"
K_GUAR = "925b06e21729b2ef860591a6462b5434d7c5d47182d2643049dc160bd8b1c79e"
K_BEST = "e225add29cab83293001b0087a1ae22515e43119a9453478890d074793b427f5"
K_STATIC = "7c1c83331dd1720f94dbf19c2097271f190dcc1c02f37e6536eb772ff48996bd"

USER = "/user.slice/user-1000.slice/user@1000.service"
TIERS = "/kubepods.slice/kubepods-burstable.slice"
POD = f"{TIERS}/kubepods-burstable-pod{UID_}.slice"
KIND_ROOT = "/kubelet.slice/kubelet-kubepods.slice"
KIND = f"{KIND_ROOT}/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UID_}.slice"
CUSTOM = f"/custom.slice/custom-kubepods.slice/custom-kubepods-pod{UID_}.slice"
OLD = f"kubepods-besteffort-pod{UID_}.slice"
PODMAN_POD = f"/machine.slice/machine-libpod_pod_{P_POD}.slice"

Row = tuple[str, Place]


def pod(
    path: str,
    driver: str,
    uid: str,
    qos: str | None = None,
    *,
    runtime: str | None = None,
    parent: str | None = None,
) -> Row:
    """A row whose path is a pod's cgroup."""
    return path, Place(
        level=Level.POD,
        runtime=runtime,
        driver=driver,
        pod_uid=uid,
        qos_class=qos,
        pod_path=path,
        parent_path=parent,
    )


def container(
    path: str,
    runtime: str | None,
    driver: str,
    container_id: str | None = None,
    *,
    name: str | None = None,
    of: Row | None = None,
    parent: str | None = None,
    sandbox: bool = False,
) -> Row:
    """A row whose path is a container's cgroup, in the pod `of` another row."""
    in_pod = of[1] if of else Place(level=Level.CGROUP)
    return path, Place(
        level=Level.CONTAINER,
        runtime=runtime,
        driver=driver,
        container_id=container_id,
        container_name=name,
        pod_uid=in_pod.pod_uid,
        qos_class=in_pod.qos_class,
        sandbox=sandbox,
        pod_path=in_pod.pod_path,
        container_path=path,
        parent_path=parent or in_pod.parent_path,
    )


def inside(path: str, outer: Row) -> Row:
    """A row whose path lies below another row's container or pod."""
    return path, replace(outer[1], level=Level.INSIDE)


BURSTABLE = pod(POD, "systemd", UID, "Burstable")
BY_CGROUPFS = pod(f"/kubepods/burstable/pod{UID}", "cgroupfs", UID, "Burstable")
IN_KIND = pod(
    f"/docker/{A}/kubelet/kubepods/besteffort/pod{UID}",
    "cgroupfs",
    UID,
    "BestEffort",
    parent=f"/docker/{A}",
)
IN_KIND_SCOPE = pod(
    f"/system.slice/docker-{A}.scope{KIND}",
    "systemd",
    UID,
    "Burstable",
    parent=f"/system.slice/docker-{A}.scope",
)
OF_PODMAN = pod(PODMAN_POD, "systemd", P_POD, runtime="podman")
OF_PODMAN_BARE = pod(f"/libpod_parent/{A}", "cgroupfs", A, runtime="podman")

POD_ROWS: dict[str, Row] = {
    "k8s burstable": BURSTABLE,
    "k8s besteffort": pod(
        "/kubepods.slice/kubepods-besteffort.slice"
        "/kubepods-besteffort-pod62f890ee_4a3c_4bee_862f_7f3b4967622a.slice",
        "systemd",
        "62f890ee-4a3c-4bee-862f-7f3b4967622a",
        "BestEffort",
    ),
    "k8s guaranteed": pod(
        "/kubepods.slice/kubepods-pod65d065af_ae73_47db_b13a_2485901d6eb7.slice",
        "systemd",
        "65d065af-ae73-47db-b13a-2485901d6eb7",
        "Guaranteed",
    ),
    "k8s static pod, guaranteed": pod(
        "/kubepods.slice/kubepods-podad4fa5127e30d65a8a44a41d2ff3b64a.slice",
        "systemd",
        "ad4fa5127e30d65a8a44a41d2ff3b64a",
        "Guaranteed",
    ),
    "k8s static pod, burstable": pod(
        f"{TIERS}/kubepods-burstable-pode6449613710d96a04a56912aea9a3f45.slice",
        "systemd",
        "e6449613710d96a04a56912aea9a3f45",
        "Burstable",
    ),
    "v2 hand-made UID": pod(
        "/kubepods.slice/kubepods-podguar0000_0000_0000_0000_000000000001.slice",
        "systemd",
        "guar0000-0000-0000-0000-000000000001",
        "Guaranteed",
    ),
    "v2 cgroupfs burstable": pod(
        "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555",
        "cgroupfs",
        "11111111-2222-3333-4444-555555555555",
        "Burstable",
    ),
    "kubelet cgroupfs guaranteed": pod(f"/kubepods/pod{UID}", "cgroupfs", UID, "Guaranteed"),
    "kubelet cgroupfs besteffort": pod(
        f"/kubepods/besteffort/pod{UID}", "cgroupfs", UID, "BestEffort"
    ),
    "kubelet --cgroup-root, systemd": pod(CUSTOM, "systemd", UID, "Guaranteed"),
    "kubelet --cgroup-root of two levels": pod(
        f"/a.slice/a-b.slice/a-b-kubepods.slice/a-b-kubepods-pod{UID_}.slice",
        "systemd",
        UID,
        "Guaranteed",
    ),
    "kubelet --cgroup-root, cgroupfs": pod(
        f"/custom/kubepods/pod{UID}", "cgroupfs", UID, "Guaranteed"
    ),
    "kind seen from its node, systemd": pod(KIND, "systemd", UID, "Burstable"),
    "kind on v1": IN_KIND,
    "kind on v2": IN_KIND_SCOPE,
    "kind on Podman": pod(
        f"/machine.slice/libpod-{A}.scope/container{KIND}",
        "systemd",
        UID,
        "Burstable",
        parent=f"/machine.slice/libpod-{A}.scope",
    ),
    "k3s rootless": pod(
        f"{USER}/k3s-rootless.service/kubepods/burstable/pod{UID}", "cgroupfs", UID, "Burstable"
    ),
    "minikube in a CI job": pod(
        f"/actions_job/{A}/kubepods/burstable/poda1de58db0ce81d19df7999f6808def1b",
        "cgroupfs",
        "a1de58db0ce81d19df7999f6808def1b",
        "Burstable",
        parent=f"/actions_job/{A}",
    ),
    "line end, kubelet": pod(
        f"/a\nb.slice/a\nb-kubepods.slice/a\nb-kubepods-pod{UID_}.slice",
        "systemd",
        UID,
        "Guaranteed",
    ),
    "line end, Podman pod": pod(
        f"/a\nb.slice/a\nb-libpod_pod_{A}.slice", "systemd", A, runtime="podman"
    ),
    "v2 Podman pod": OF_PODMAN,
    "Podman rootless pod": pod(
        f"{USER}/user.slice/user-libpod_pod_{A}.slice", "systemd", A, runtime="podman"
    ),
    "Podman pod, --cgroup-parent": pod(
        f"/lab.slice/lab-web.slice/lab-web-libpod_pod_{A}.slice", "systemd", A, runtime="podman"
    ),
    "Podman pod, cgroupfs": OF_PODMAN_BARE,
}

OUTER = container(f"{POD}/cri-containerd-{A}.scope", "containerd", "systemd", A, of=BURSTABLE)
ROOTLESS = container(
    f"{USER}/user.slice/libpod-{P_ROOTLESS}.scope", "podman", "systemd", P_ROOTLESS
)
PODMAN = container(f"/machine.slice/libpod-{P_CPU}.scope", "podman", "systemd", P_CPU)
NSPAWN = container("/machine.slice/machine-labm2.scope", "systemd-nspawn", "systemd", name="labm2")
NSPAWN_UNIT = container(
    "/machine.slice/systemd-nspawn@media-01.service", "systemd-nspawn", "systemd", name="media-01"
)
LXC = container("/lxc.payload.web", "lxc", "cgroupfs", name="web")
PROXMOX = container("/lxc/101", "lxc", "cgroupfs", name="101")
QUADLET = container(f"/system.slice/web.service/libpod-payload-{A}", "podman", "cgroupfs", A)
COLONS = container(f"/{OLD}:cri-containerd:{A}", "containerd", "cgroupfs", A)

CONTAINER_ROWS: dict[str, Row] = {
    # Docker
    "v2 Docker": container(f"/system.slice/docker-{D_CPU}.scope", "docker", "systemd", D_CPU),
    "v2 Docker --cgroup-parent": container(
        f"/lab.slice/lab-parent.slice/docker-{D_HOST}.scope", "docker", "systemd", D_HOST
    ),
    "v1 Docker": container(
        f"/lab.slice/lab-parent.slice/docker-{D_V1}.scope", "docker", "systemd", D_V1
    ),
    "v1 Docker, cgroupfs, --cgroup-parent": container(
        f"/cgx-lab-docker/{D_BARE}", None, "cgroupfs", D_BARE
    ),
    "Docker, cgroupfs": container(f"/docker/{A}", "docker", "cgroupfs", A),
    "Docker Desktop": container(f"/docker-ce/docker/{A}", "docker", "cgroupfs", A),
    "Docker rootless": container(f"{USER}/user.slice/docker-{A}.scope", "docker", "systemd", A),
    "Docker in a service's own hierarchy": container(
        f"/system.slice/ci.service/docker/{A}", "docker", "cgroupfs", A
    ),
    "Docker in Docker, v1": container(
        f"/docker/{A}/docker/{B}", "docker", "cgroupfs", B, parent=f"/docker/{A}"
    ),
    "Docker in Docker, v2": container(
        f"/system.slice/docker-{A}.scope/docker/{B}",
        "docker",
        "cgroupfs",
        B,
        parent=f"/system.slice/docker-{A}.scope",
    ),
    "Docker in Kubernetes is in no pod": container(
        f"{OUTER[0]}/docker/{B}", "docker", "cgroupfs", B, parent=OUTER[0]
    ),
    "Docker in systemd in Docker": container(
        f"/docker/{A}/system.slice/docker-{B}.scope",
        "docker",
        "systemd",
        B,
        parent=f"/docker/{A}",
    ),
    "BuildKit in Docker, systemd": container(
        "/system.slice/docker-f5lxx1zz5pnorynqglhzmsp33.scope",
        "docker",
        "systemd",
        "f5lxx1zz5pnorynqglhzmsp33",
    ),
    "BuildKit in Docker, cgroupfs": container(
        "/docker/buildkit/f5lxx1zz5pnorynqglhzmsp33",
        "docker",
        "cgroupfs",
        "f5lxx1zz5pnorynqglhzmsp33",
    ),
    "buildx": container(f"/docker/buildx/{A}", "docker", "cgroupfs", A),
    "GitHub Actions": container(f"/actions_job/{A}", None, "cgroupfs", A),
    "ECS, v1": container(f"/ecs/{TASK}/{A}", "docker", "cgroupfs", A),
    "ECS, v2": container(
        f"/ecstasks.slice/ecstasks-{TASK}.slice/docker-{A}.scope", "docker", "systemd", A
    ),
    "ECS on Fargate 1.4": container(
        f"/ecs/{TASK}-1234567890", None, "cgroupfs", f"{TASK}-1234567890"
    ),
    "ECS on Fargate 1.4, below its task": container(
        f"/ecs/55091c13-b8cf-4801-b527-f4601742204d/{TASK}-1234567890",
        None,
        "cgroupfs",
        f"{TASK}-1234567890",
    ),
    # Kubernetes
    "k8s container": container(
        f"{POD}/cri-containerd-{K_BURST}.scope", "containerd", "systemd", K_BURST, of=BURSTABLE
    ),
    "k8s sandbox, which looks the same": container(
        f"{POD}/cri-containerd-{K_PAUSE}.scope", "containerd", "systemd", K_PAUSE, of=BURSTABLE
    ),
    "k8s guaranteed container": container(
        f"{POD_ROWS['k8s guaranteed'][0]}/cri-containerd-{K_GUAR}.scope",
        "containerd",
        "systemd",
        K_GUAR,
        of=POD_ROWS["k8s guaranteed"],
    ),
    "k8s besteffort container": container(
        f"{POD_ROWS['k8s besteffort'][0]}/cri-containerd-{K_BEST}.scope",
        "containerd",
        "systemd",
        K_BEST,
        of=POD_ROWS["k8s besteffort"],
    ),
    "k8s static container": container(
        f"{POD_ROWS['k8s static pod, burstable'][0]}/cri-containerd-{K_STATIC}.scope",
        "containerd",
        "systemd",
        K_STATIC,
        of=POD_ROWS["k8s static pod, burstable"],
    ),
    "v2 cgroupfs container": container(
        f"{POD_ROWS['v2 cgroupfs burstable'][0]}/{'a' * 64}",
        None,
        "cgroupfs",
        "a" * 64,
        of=POD_ROWS["v2 cgroupfs burstable"],
    ),
    "hybrid hand-made UID": container(
        f"{POD_ROWS['v2 hand-made UID'][0]}/cri-containerd-{'b' * 64}.scope",
        "containerd",
        "systemd",
        "b" * 64,
        of=POD_ROWS["v2 hand-made UID"],
    ),
    "cri-dockerd, systemd": container(
        f"{POD}/docker-{A}.scope", "docker", "systemd", A, of=BURSTABLE
    ),
    "CRI-O, systemd": container(f"{POD}/crio-{A}.scope", "cri-o", "systemd", A, of=BURSTABLE),
    "CRI-O, cgroupfs": container(
        f"{BY_CGROUPFS[0]}/crio-{A}", "cri-o", "cgroupfs", A, of=BY_CGROUPFS
    ),
    "CRI-O sandbox without a process": container(
        f"{POD}/crio-{A}", "cri-o", "cgroupfs", A, of=BURSTABLE, sandbox=True
    ),
    "CRI-O without a kubelet": container(f"/crio/crio-{A}", "cri-o", "cgroupfs", A),
    "Kata, systemd: the sandbox's scope": OUTER,
    "kind container on v1": container(f"{IN_KIND[0]}/{B}", None, "cgroupfs", B, of=IN_KIND),
    "kind container on v2": container(
        f"{IN_KIND_SCOPE[0]}/cri-containerd-{B}.scope",
        "containerd",
        "systemd",
        B,
        of=IN_KIND_SCOPE,
    ),
    "kubelet --cgroup-root container": container(
        f"{CUSTOM}/crio-{A}.scope",
        "cri-o",
        "systemd",
        A,
        of=POD_ROWS["kubelet --cgroup-root, systemd"],
    ),
    "k3s rootless container": container(
        f"{POD_ROWS['k3s rootless'][0]}/{A}",
        None,
        "cgroupfs",
        A,
        of=POD_ROWS["k3s rootless"],
    ),
    "containerd without its systemd driver": (
        COLONS[0],
        replace(COLONS[1], pod_uid=UID, qos_class="BestEffort"),
    ),
    "containerd without its systemd driver, in its service": (
        f"/system.slice/containerd.service/{OLD}:cri-containerd:{A}",
        replace(
            COLONS[1],
            pod_uid=UID,
            qos_class="BestEffort",
            container_path=f"/system.slice/containerd.service/{OLD}:cri-containerd:{A}",
        ),
    ),
    "Docker with a runtime that knows no slices": container(
        f"/system.slice:docker:{A}", "docker", "cgroupfs", A
    ),
    # containerd without Kubernetes
    "nerdctl": container(f"/system.slice/nerdctl-{A}.scope", "containerd", "systemd", A),
    "nerdctl rootless": container(
        f"{USER}/user.slice/nerdctl-{A}.scope", "containerd", "systemd", A
    ),
    "nerdctl, cgroupfs": container(f"/default/{A}", None, "cgroupfs", A),
    "containerd, a sandbox of crictl's": container(f"/k8s.io/{A}", "containerd", "cgroupfs", A),
    # Podman
    "v2 Podman": PODMAN,
    "hybrid Podman": container(
        f"/machine.slice/libpod-{P_HYBRID}.scope", "podman", "systemd", P_HYBRID
    ),
    "v2 Podman in a pod": container(
        f"{PODMAN_POD}/libpod-{P_INPOD}.scope", "podman", "systemd", P_INPOD, of=OF_PODMAN
    ),
    "v2 Podman rootless": ROOTLESS,
    "v1 Podman, cgroupfs": container(f"/cgx-lab-podman/libpod-{P_V1}", "podman", "cgroupfs", P_V1),
    "Podman, cgroupfs": container(f"/libpod_parent/libpod-{A}", "podman", "cgroupfs", A),
    "Podman in a pod, cgroupfs": container(
        f"{OF_PODMAN_BARE[0]}/libpod-{B}", "podman", "cgroupfs", B, of=OF_PODMAN_BARE
    ),
    "Podman Quadlet": QUADLET,
    "Podman Quadlet, rootless": container(
        f"{USER}/app.slice/web.service/libpod-payload-{A}", "podman", "cgroupfs", A
    ),
    "Podman in Docker": container(
        f"/docker/{A}/libpod_parent/libpod-{B}", "podman", "cgroupfs", B, parent=f"/docker/{A}"
    ),
    # runc and crun without an engine
    "runc": container("/system.slice/runc-my-app.scope", "runc", "systemd", "my-app"),
    "crun rootless": container(f"{USER}/user.slice/crun-my-app.scope", "crun", "systemd", "my-app"),
    "runc rootless, cgroupfs": container(f"/user.slice/user-1001.slice/{A}", None, "cgroupfs", A),
    # systemd-nspawn, libvirt
    "v2 nspawn": NSPAWN,
    "systemd nspawn template": NSPAWN_UNIT,
    "systemd machined's escapes": container(
        r"/machine.slice/machine-my\x2dbox.scope", "systemd-nspawn", "systemd", name="my-box"
    ),
    "systemd escapes are bytes": container(
        r"/machine.slice/machine-\xc3\xa9t\xc3\xa9\xff.scope",
        "systemd-nspawn",
        "systemd",
        name="été\udcff",
    ),
    "libvirt LXC": container(
        r"/machine.slice/machine-lxc\x2d4711\x2dmy\x2ddemo.scope",
        "libvirt-lxc",
        "systemd",
        name="my-demo",
    ),
    "Docker in nspawn": container(
        f"{NSPAWN[0]}/payload/system.slice/docker-{A}.scope",
        "docker",
        "systemd",
        A,
        parent=NSPAWN[0],
    ),
    # LXC, Incus, LXD, Proxmox
    "LXC 4": LXC,
    "LXC 4 below lxc.cgroup.dir": container(
        f"{USER}/app.slice/lxc.payload.c1", "lxc", "cgroupfs", name="c1"
    ),
    "LXC 3.1": container("/lxc.payload/web", "lxc", "cgroupfs", name="web"),
    "LXC on v1": container("/lxc/web", "lxc", "cgroupfs", name="web"),
    "Incus with a project": container("/lxc.payload.shop_web", "lxc", "cgroupfs", name="shop_web"),
    "LXC in LXC": container(
        "/lxc.payload.web/lxc.payload.inner", "lxc", "cgroupfs", name="inner", parent=LXC[0]
    ),
    "LXC in LXC on v1": container(
        "/lxc/101/lxc/inner", "lxc", "cgroupfs", name="inner", parent=PROXMOX[0]
    ),
    "LXC container called docker": container("/lxc/docker", "lxc", "cgroupfs", name="docker"),
    "Docker in an LXC container called docker": container(
        f"/lxc/docker/docker/{A}", "docker", "cgroupfs", A, parent="/lxc/docker"
    ),
    "Proxmox": PROXMOX,
    # A line end in a name is a character like any other.
    "line end, LXC": container("/lxc.payload.a\nb", "lxc", "cgroupfs", name="a\nb"),
    "line end, runc": container("/system.slice/runc-a\nb.scope", "runc", "systemd", "a\nb"),
    "line end, nspawn": container(
        "/machine.slice/machine-a\nb.scope", "systemd-nspawn", "systemd", name="a\nb"
    ),
    "line end, nspawn template": container(
        "/machine.slice/systemd-nspawn@a\nb.service", "systemd-nspawn", "systemd", name="a\nb"
    ),
    "line end, Docker's slice": container(f"/a\nb.slice:docker:{A}", "docker", "cgroupfs", A),
}

INSIDE_ROWS: dict[str, Row] = {
    "v2 crun's payload cgroup": inside(f"{PODMAN[0]}/container", PODMAN),
    "v2 crun's payload cgroup, rootless": inside(f"{ROOTLESS[0]}/container", ROOTLESS),
    "CRI-O exec": inside(f"{POD}/crio-{A}.scope/container/exec", CONTAINER_ROWS["CRI-O, systemd"]),
    "v2 nspawn payload": inside(f"{NSPAWN[0]}/payload", NSPAWN),
    "systemd nspawn payload's services": inside(
        f"{NSPAWN_UNIT[0]}/payload/system.slice/sonarr.service", NSPAWN_UNIT
    ),
    "systemd nspawn payload's own supervisor": inside(f"{NSPAWN[0]}/payload/supervisor", NSPAWN),
    "LXC payload's init": inside(f"{LXC[0]}/init.scope", LXC),
    "LXC payload's mount unit": inside(f"{LXC[0]}/system.slice/dev-hugepages.mount", LXC),
    "Proxmox ns": inside(f"{PROXMOX[0]}/ns", PROXMOX),
    "kind node's QoS tier": inside(
        f"/docker/{A}/kubelet/kubepods/besteffort",
        container(f"/docker/{A}", "docker", "cgroupfs", A),
    ),
    "Docker in Docker's own": inside(
        f"/docker/{A}/init", container(f"/docker/{A}", "docker", "cgroupfs", A)
    ),
    "Docker container's 64 digits": inside(
        f"/docker/{A}/{B}", container(f"/docker/{A}", "docker", "cgroupfs", A)
    ),
    "LXC container called docker, its 64 digits": inside(
        f"/lxc/docker/{A}", container("/lxc/docker", "lxc", "cgroupfs", name="docker")
    ),
    "Kata, cgroupfs": inside(f"{BY_CGROUPFS[0]}/kata_{A}", BY_CGROUPFS),
    "Podman monitor in Docker": inside(
        f"/docker/{A}/libpod_parent/conmon",
        container(f"/docker/{A}", "docker", "cgroupfs", A),
    ),
    "v2 nspawn --keep-unit": ("/system.slice/nsp.service/payload", Place(level=Level.INSIDE)),
    "Podman Quadlet's supervisor": (
        "/system.slice/web.service/supervisor",
        Place(level=Level.INSIDE),
    ),
    "systemd user slice": (f"{USER}/app.slice", Place(level=Level.INSIDE)),
    "systemd user service": (
        f"{USER}/app.slice/pipewire.service",
        Place(level=Level.INSIDE),
    ),
    "systemd user session's 64 digits": (f"{USER}/app.slice/{A}", Place(level=Level.INSIDE)),
    "systemd service's 64 digits": (f"/system.slice/git.service/{A}", Place(level=Level.INSIDE)),
    "libvirt vCPU": (
        r"/machine.slice/machine-qemu\x2d6\x2dvm1.scope/libvirt/vcpu0",
        Place(level=Level.INSIDE),
    ),
    "Slurm step": (
        "/system.slice/slurmstepd.scope/job_1392969/step_0/user/task_0",
        Place(level=Level.INSIDE),
    ),
    "Slurm on v1, step": ("/slurm/uid_21/job_28/step_batch", Place(level=Level.INSIDE)),
}

CGROUPS = {
    "v2 root": "/",
    "v2 slice": "/lab.slice/lab-parent.slice",
    "v2 service": "/system.slice/lab-svc.service",
    "v2 Podman's parent": "/machine.slice",
    "v2 nspawn --keep-unit's service": "/system.slice/nsp.service",
    "v2 ctr": "/default/c-fs",
    "v2 ctr with a scope": "/lab.slice/ctr-c-sd.scope",
    "k8s kubelet": "/system.slice/kubelet.service",
    "k8s root": "/kubepods.slice",
    "k8s tier": TIERS,
    "v1 Docker's parent": "/cgx-lab-docker",
    "kubelet cgroupfs tier": "/kubepods/burstable",
    "Docker cgroupfs root": "/docker",
    "Docker short ID": "/system.slice/docker-3f2a9c1b4d5e.scope",
    "systemd init": "/init.scope",
    "systemd session": "/user.slice/user-1000.slice/session-3.scope",
    "systemd user manager": USER,
    "systemd instance": "/system.slice/system-getty.slice/getty@tty1.service",
    "libvirt QEMU": r"/machine.slice/machine-qemu\x2d1\x2dinstance\x2d0000001d.scope",
    "libvirt QEMU before 1.3": r"/machine.slice/machine-qemu\x2dwin10.scope",
    "libvirt Cloud Hypervisor": r"/machine.slice/machine-ch\x2d2\x2dvm1.scope",
    "Proxmox virtual machine": "/qemu.slice/100.scope",
    "ECS task, v1": f"/ecs/{TASK}",
    "ECS task, v2": f"/ecstasks.slice/ecstasks-{TASK}.slice",
    "LXC parent": "/lxc",
    "LXC parent with a slash": "/lxc/",
    "Slurm scope": "/system.slice/node7_slurmstepd.scope",
    "Slurm job": "/system.slice/node7_slurmstepd.scope/job_42",
    "Slurm on v1, job": "/slurm/uid_21/job_28",
    "Talos": "/podruntime/runtime",
    "pod outside kubepods": f"/burstable/pod{UID}",
    "not 64 digits": f"/docker/{A[1:]}",
    "not hex": f"/docker/{A[1:]}g",
    "line end": f"/docker/{A}\n",
}

OTHERS = {
    "v2 Podman monitor": f"/machine.slice/libpod-conmon-{P_CPU}.scope",
    "v2 Podman monitor in a pod": f"{PODMAN_POD}/libpod-conmon-{P_INPOD}.scope",
    "v2 Podman monitor, rootless": f"{USER}/user.slice/libpod-conmon-{P_ROOTLESS}.scope",
    "v1 Podman monitor, cgroupfs": "/cgx-lab-podman/conmon",
    "Podman monitor in a pod, cgroupfs": f"{OF_PODMAN_BARE[0]}/conmon",
    "CRI-O monitor": f"{POD}/crio-conmon-{A}.scope",
    "CRI-O monitor, cgroupfs": f"{BY_CGROUPFS[0]}/crio-conmon-{A}",
    "LXC monitor": "/lxc.monitor.web",
    "LXC 3.1 monitor": "/lxc.monitor/web",
    "LXC monitor, by pattern": "/lxc/web/monitor",
    "LXC pivot": "/lxc.pivot",
    "systemd nspawn's supervisor": f"{NSPAWN_UNIT[0]}/supervisor",
    "line end, mount": "/a\nb.mount",
    "systemd mount": "/sys-kernel-debug.mount",
    "systemd swap": "/dev-vda5.swap",
    "systemd socket": "/system.slice/docker.socket",
    "systemd mount, below": f"/system.slice/x.mount/docker-{A}.scope",
    "Kata overhead": f"/kata_overhead/{A}",
}

ROWS: dict[str, Row] = {
    **POD_ROWS,
    **CONTAINER_ROWS,
    **INSIDE_ROWS,
    **{source: (path, Place(level=Level.CGROUP)) for source, path in CGROUPS.items()},
    **{source: (path, Place(level=Level.OTHER)) for source, path in OTHERS.items()},
}


@pytest.mark.parametrize(("path", "place"), ROWS.values(), ids=ROWS.keys())
def test_known_path(path: str, place: Place) -> None:
    """Each path a runtime is known to make says all that it proves and nothing else."""
    assert classify(path) == place


def test_no_path_twice() -> None:
    """The same path is never in the table twice, so a row cannot contradict another."""
    paths = [path for path, _ in ROWS.values()]
    assert len(set(paths)) == len(paths)


# Names that mean something, in any order: every branch is met, in places no runtime would make.
NAMES = sorted({name for path, _ in ROWS.values() for name in path.split("/")})
anything = st.text(st.characters(exclude_categories=()))  # lone surrogates and line ends too
invented = st.lists(st.sampled_from(NAMES) | anything, max_size=8).map("/".join)


@given(anything | invented)
@example("")
@example("\ud800/docker-\n")
@example("/lxc/")
@example("/lxc.payload./")
@example(r"/machine-\xff\x0.scope")
def test_any_text(path: str) -> None:
    """Whatever a tenant calls a cgroup, classifying it does not fail."""
    assert isinstance(classify(path), Place)


@given(invented)
def test_paths_name_what_they_claim(path: str) -> None:
    """The pod, container and parent a place names are that when looked at themselves."""
    place = classify(path)
    if place.level is Level.CONTAINER:
        assert place.container_path == path
    if place.level is Level.POD:
        assert place.pod_path == path
    for prefix, level in (
        (place.pod_path, Level.POD),
        (place.container_path, Level.CONTAINER),
        (place.parent_path, Level.CONTAINER),
    ):
        if prefix is not None:
            assert path == prefix or path.startswith(f"{prefix}/")
            assert classify(prefix).level is level


@given(invented)
def test_levels_nest(path: str) -> None:
    """Nothing below a container or a monitor is published as a cgroup of the host."""
    outer, inner = classify(path), classify(f"{path}/x")
    if outer.level is Level.CGROUP:
        assert inner.level in (Level.CGROUP, Level.INSIDE, Level.CONTAINER)
    elif outer.level is Level.OTHER:
        assert inner.level is Level.OTHER
    else:
        assert inner.level is not Level.CGROUP


hex_id = st.text("0123456789abcdef", min_size=64, max_size=64)
forged = st.sampled_from(
    (
        "docker-{}.scope",
        "cri-containerd-{}.scope",
        "crio-{}",
        "libpod-{}.scope",
        "docker/{}",
        "runc-{}.scope",
        "machine-{}.scope",
        "lxc.payload.{}",
        "x.slice:docker:{}",
        "{}",
    )
)


@given(st.sampled_from([path for path, _ in CONTAINER_ROWS.values()]), forged, hex_id)
def test_no_escape_from_a_container(path: str, form: str, name: str) -> None:
    """A cgroup made inside a container, whatever its name, is never taken for the host's."""
    place = classify(f"{path}/{form.format(name)}")
    if place.level is Level.CONTAINER:
        assert place.parent_path == path
        assert (place.pod_uid, place.qos_class, place.pod_path) == (None, None, None)
    else:
        assert place == replace(classify(path), level=Level.INSIDE)


@given(st.sampled_from([path for path, _ in CONTAINER_ROWS.values()]), hex_id)
def test_forged_pod_has_a_parent(path: str, name: str) -> None:
    """A pod made inside a container, as kind's are, says in which; so do its containers."""
    inner = f"{path}/kubepods.slice/kubepods-pod{name}.slice"
    assert classify(inner).parent_path == path
    assert classify(f"{inner}/docker-{name}.scope").parent_path == path
