#!/bin/bash
# Start containerd and a kubelet.
#
#   kubelet.sh                   static pods of /etc/kubernetes/manifests, no API server
#   kubelet.sh NODE KUBECONFIG   a node of a cluster; ca.crt lies beside the file
set -euo pipefail
node=${1:-lab} kubeconfig=${2:-}
[ -x /usr/local/bin/kubelet ] || tar xf /dev/vdc -C /usr/local/bin
mkdir -p /etc/kubernetes/manifests /var/lib/kubelet
touch /etc/resolv.conf

if [ -n "$kubeconfig" ]; then
  authentication="{anonymous: {enabled: false}, webhook: {enabled: true},
    x509: {clientCAFile: $(dirname "$kubeconfig")/ca.crt}}"
  authorization='{mode: Webhook}'
  flags="--kubeconfig $kubeconfig --node-ip 10.0.2.15"
else
  authentication='{anonymous: {enabled: true}, webhook: {enabled: false}}'
  authorization='{mode: AlwaysAllow}'
  flags=
fi
cat > /etc/kubernetes/kubelet.yaml <<X
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
staticPodPath: /etc/kubernetes/manifests
address: 127.0.0.1
readOnlyPort: 10255
authentication: $authentication
authorization: $authorization
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
failSwapOn: false
failCgroupV1: false
singleProcessOOMKill: true
# What it does again and again for nobody here takes a guest's time from its pods.
evictionHard: {memory.available: "0%", nodefs.available: "0%", imagefs.available: "0%"}
volumeStatsAggPeriod: -1s
resolvConf: /etc/resolv.conf
runtimeRequestTimeout: 10m
X

mkdir -p /run/systemd/system/containerd.service.d
cat > /run/systemd/system/containerd.service.d/cri.conf <<X
[Service]
ExecStart=
ExecStart=/usr/local/bin/containerd --config /etc/containerd-cri/config.toml
X
systemctl daemon-reload
# What Go gains by a second processor is less than it takes, and its signals to itself, for loops
# without an end, take a tenth of what its programs do in a guest.
systemctl set-environment GOMAXPROCS=1 GOGC=400 GODEBUG=asyncpreemptoff=1
systemctl restart containerd
for _ in $(seq 240); do
  [ -n "$(/usr/local/bin/ctr -n k8s.io images import --local /lab/lab.tar 2>/dev/null)" ] && break
  sleep 0.5
done
/usr/local/bin/ctr -n k8s.io images ls -q | grep -x docker.io/library/lab:1 >/dev/null
systemd-run -q --unit kubelet -p OOMScoreAdjust=-999 \
  -E PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /usr/local/bin/kubelet --config /etc/kubernetes/kubelet.yaml --root-dir /var/lib/kubelet \
  --hostname-override "$node" --v=0 $flags
