{{- define "cgexporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "cgexporter.fullname" -}}
{{- $name := include "cgexporter.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "cgexporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "cgexporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cgexporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cgexporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: metrics
app.kubernetes.io/part-of: {{ include "cgexporter.name" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "cgexporter.selectorLabels" . }}
{{- with .Values.commonLabels }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end }}

{{/* Of pods: nothing that changes with the chart alone, or each new chart would replace them. */}}
{{- define "cgexporter.podLabels" -}}
{{ include "cgexporter.selectorLabels" . }}
app.kubernetes.io/component: metrics
app.kubernetes.io/part-of: {{ include "cgexporter.name" . }}
{{- with merge (deepCopy .Values.podLabels) .Values.commonLabels }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end }}

{{- define "cgexporter.testLabels" -}}
app.kubernetes.io/name: {{ include "cgexporter.name" . | trunc 58 }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cgexporter.metadata" -}}
name: {{ include "cgexporter.fullname" . }}
namespace: {{ include "cgexporter.namespace" . }}
labels:
  {{- include "cgexporter.labels" . | nindent 2 }}
{{- end }}

{{- define "cgexporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "cgexporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Of what belongs to no namespace: releases in two namespaces must not meet. */}}
{{- define "cgexporter.clusterName" -}}
{{- printf "%s-%s" (include "cgexporter.namespace" .) (include "cgexporter.fullname" .) }}
{{- end }}

{{/* An image by digest where there is one. Takes: root, image, tag. */}}
{{- define "cgexporter.image" -}}
{{- $registry := default .image.registry ((.root.Values.global).imageRegistry) -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .tag .image.tag }}{{ end }}
{{- end }}

{{- define "cgexporter.imagePullSecrets" -}}
{{- $all := concat (default list ((.Values.global).imagePullSecrets)) .Values.imagePullSecrets }}
{{- range $all }}
- name: {{ if kindIs "map" . }}{{ .name }}{{ else }}{{ . }}{{ end }}
{{- end }}
{{- end }}

{{/* The steps of the ladder: "true" or nothing. */}}

{{/* State files and sockets belong to root, and a container's uid other than 0 has no capability. */}}
{{- define "cgexporter.asRoot" -}}
{{- if or .Values.identity.runtimeState.enabled .Values.namespaces.enabled .Values.identity.sockets }}true{{ end }}
{{- end }}

{{- define "cgexporter.tokenForExporter" -}}
{{- if or .Values.identity.kubelet.enabled .Values.identity.api.enabled }}true{{ end }}
{{- end }}

{{- define "cgexporter.clusterRights" -}}
{{- if or (include "cgexporter.tokenForExporter" .) .Values.kubeRBACProxy.enabled }}true{{ end }}
{{- end }}

{{- define "cgexporter.hostNetwork" -}}
{{- if .Values.interfaces.enabled }}true{{ end }}
{{- end }}

{{/* Flags of the exporter, one a line of a YAML list. */}}
{{- define "cgexporter.args" -}}
- --path.cgroupfs=/host/sys/fs/cgroup
- --path.procfs=/host/proc
- --identity.root=/host
- --web.listen-address={{ if .Values.kubeRBACProxy.enabled }}127.0.0.1:{{ .Values.kubeRBACProxy.upstreamPort }}{{ else }}:{{ .Values.web.port }}{{ end }}
{{- if ne .Values.web.telemetryPath "/metrics" }}
- --web.telemetry-path={{ .Values.web.telemetryPath }}
{{- end }}
{{- if .Values.web.existingSecret }}
- --web.config.file=/etc/cgexporter/web/{{ .Values.web.secretKey }}
{{- end }}
{{- range $name, $on := .Values.collectors }}
- --{{ if not $on }}no-{{ end }}collector.{{ $name }}
{{- end }}
{{- range $name, $levels := .Values.collectorLevels }}
- --collector.levels={{ $name }}={{ join "," $levels }}
{{- end }}
{{- if ne .Values.metricNames "cgexporter" }}
- --metrics.names={{ .Values.metricNames }}
{{- end }}
{{- if not .Values.identity.logs.enabled }}
- --no-identity.logs
{{- end }}
{{- if not .Values.identity.runtimeState.enabled }}
- --no-identity.state
{{- end }}
{{- with .Values.identity.kubelet }}
{{- if .enabled }}
- --identity.kubelet={{ .url }}
{{- with .caFile }}
- --identity.ca-file={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.identity.api.enabled }}
- --identity.api=in-cluster
{{- end }}
{{- range .Values.identity.sockets }}
- --identity.socket={{ .kind }}=/host{{ .path }}
{{- end }}
{{- range .Values.identity.labels }}
- --identity.labels={{ . }}
{{- end }}
{{- if .Values.interfaces.host }}
- --network.host
{{- end }}
- --log.level={{ .Values.log.level }}
- --log.format={{ .Values.log.format }}
{{- range .Values.extraArgs }}
- {{ tpl . $ | quote }}
{{- end }}
{{- end }}

{{/* kube-rbac-proxy's port is the pod's way in, to the exporter behind it too. */}}
{{- define "cgexporter.probe" -}}
{{- $port := ternary .root.Values.web.port "metrics" .root.Values.kubeRBACProxy.enabled }}
{{- if .root.Values.web.authenticated }}
tcpSocket:
  port: {{ $port }}
{{- else }}
httpGet:
  path: {{ .path }}
  port: {{ $port }}
  scheme: {{ upper (include "cgexporter.scheme" .root) }}
{{- end }}
{{ toYaml .probe }}
{{- end }}

{{/* What the file system of the node is seen of, as "path: propagation". */}}
{{- define "cgexporter.runtimeStatePaths" -}}
{{- $known := dict
  "containerd" (dict "/run/containerd/runc" "None")
  "crio-crun" (dict "/run/crun" "None")
  "crio-runc" (dict "/run/runc" "None")
  "docker" (dict "/run/docker/runtime-runc" "None" "/var/lib/docker/containers" "HostToContainer")
-}}
{{- $paths := dict -}}
{{- if .Values.identity.runtimeState.enabled -}}
{{- range .Values.identity.runtimeState.runtimes -}}
{{- $paths = merge $paths (get $known .) -}}
{{- end -}}
{{- end -}}
{{- toYaml $paths -}}
{{- end }}

{{- define "cgexporter.podSecurityContext" -}}
{{- $user := ternary 0 65534 (eq (include "cgexporter.asRoot" .) "true") -}}
{{- $given := dict
  "runAsUser" $user
  "runAsGroup" $user
  "runAsNonRoot" (ne (int $user) 0)
  "fsGroup" $user
  "seccompProfile" (dict "type" "RuntimeDefault")
-}}
{{- toYaml (mustMergeOverwrite $given (deepCopy .Values.podSecurityContext)) -}}
{{- end }}

{{- define "cgexporter.containerSecurityContext" -}}
{{- $capabilities := dict "drop" (list "ALL") -}}
{{- if .Values.namespaces.enabled -}}
{{- $_ := set $capabilities "add" (list "SYS_PTRACE") -}}
{{- end -}}
{{- $given := dict
  "allowPrivilegeEscalation" false
  "capabilities" $capabilities
  "privileged" false
  "readOnlyRootFilesystem" true
-}}
{{- toYaml (mustMergeOverwrite $given (deepCopy .Values.containerSecurityContext)) -}}
{{- end }}

{{/* Pods without a right of the cluster, such as the test's. */}}
{{- define "cgexporter.plainSecurityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsGroup: 65534
runAsNonRoot: true
runAsUser: 65534
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "cgexporter.scheme" -}}
{{- if or .Values.web.tls .Values.kubeRBACProxy.enabled }}https{{ else }}http{{ end }}
{{- end }}

{{/* Read-only all the way down, where the cluster knows how. */}}
{{- define "cgexporter.readOnly" -}}
readOnly: true
{{- if semverCompare ">=1.33.0-0" .Capabilities.KubeVersion.Version }}
recursiveReadOnly: IfPossible
{{- end }}
{{- end }}

{{/* Whether to render a resource of a CRD. Takes: root, enabled (true, false or "auto"), api. */}}
{{- define "cgexporter.wanted" -}}
{{- if eq (toString .enabled) "auto" -}}
{{- if .root.Capabilities.APIVersions.Has .api }}true{{ end -}}
{{- else if .enabled }}true{{ end -}}
{{- end }}

{{- define "cgexporter.serviceMonitorWanted" -}}
{{- include "cgexporter.wanted" (dict "root" . "enabled" .Values.serviceMonitor.enabled "api" "monitoring.coreos.com/v1/ServiceMonitor") -}}
{{- end }}

{{- define "cgexporter.podMonitorWanted" -}}
{{- include "cgexporter.wanted" (dict "root" . "enabled" .Values.podMonitor.enabled "api" "monitoring.coreos.com/v1/PodMonitor") -}}
{{- end }}

{{/*
The endpoint of a ServiceMonitor or PodMonitor. Our samples name the namespace, pod and container
that they are about, so the target must not have labels of these names: Prometheus would rename
ours, or give a sample of no pod the name of the exporter's.
*/}}
{{- define "cgexporter.endpoint" -}}
port: metrics
path: {{ .root.Values.web.telemetryPath }}
scheme: {{ include "cgexporter.scheme" .root }}
honorLabels: false
{{- with .monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .monitor.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.authorization }}
authorization:
  {{- toYaml . | nindent 2 }}
{{- end }}
relabelings:
  - action: replace
    sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  - action: labeldrop
    regex: namespace|pod|container|service|endpoint
  {{- with .monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "cgexporter.monitorLimits" -}}
{{- range $name, $limit := .limits }}
{{- if $limit }}
{{ $name }}: {{ $limit }}
{{- end }}
{{- end }}
{{- end }}
