#!/bin/bash
# Start the container engines, give each the image, and make a file system on a disk of its own.
set -euo pipefail
systemctl start containerd docker
docker load -qi /lab/lab.tar >/dev/null
ctr images import /lab/lab.tar >/dev/null
podman load -qi /lab/lab.tar >/dev/null
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then  # v1 is not delegated to users
  systemctl start user@1000
  chmod a+r /lab/lab.tar
  cd /home/lab
  runuser -u lab -- env HOME=/home/lab XDG_RUNTIME_DIR=/run/user/1000 \
    DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus podman load -qi /lab/lab.tar >/dev/null
fi
mkfs.ext4 -q -F /dev/vdb
mkdir -p /data
mount -o noatime /dev/vdb /data
