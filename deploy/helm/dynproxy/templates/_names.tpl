{{- define "dynproxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "dynproxy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "dynproxy.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "dynproxy.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "dynproxy.selector" -}}
app.kubernetes.io/name: {{ include "dynproxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dynproxy.labels" -}}
{{ include "dynproxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "dynproxy.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dynproxy.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "dynproxy.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{- /* The Secret that the chart makes, of what is given as text. */ -}}
{{- define "dynproxy.ownSecret" -}}{{ include "dynproxy.fullname" . }}{{- end }}
{{- define "dynproxy.credentialSecret" -}}{{ default (include "dynproxy.ownSecret" .) .Values.credential.existingSecret }}{{- end }}
{{- define "dynproxy.opsSecret" -}}{{ default (include "dynproxy.ownSecret" .) .Values.ops.existingSecret }}{{- end }}
{{- define "dynproxy.opsUsernameKey" -}}{{ if .Values.ops.existingSecret }}{{ .Values.ops.keys.username }}{{ else }}username{{ end }}{{- end }}
{{- define "dynproxy.opsPasswordKey" -}}{{ if .Values.ops.existingSecret }}{{ .Values.ops.keys.password }}{{ else }}password{{ end }}{{- end }}
{{- define "dynproxy.hasRedis" -}}{{ if or .Values.redis.existingSecret .Values.redis.url }}yes{{ end }}{{- end }}
{{- define "dynproxy.hasFileCallers" -}}{{ with .Values.callers }}{{ if or .files .existingSecret .existingConfigMap }}yes{{ end }}{{ end }}{{- end }}
{{- define "dynproxy.hasAppSecret" -}}{{ if has .Values.credential.type (list "secret" "certificate") }}yes{{ end }}{{- end }}

{{- /* The most proxies that there will be. */ -}}
{{- define "dynproxy.most" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.maxReplicas }}{{ else }}{{ .Values.replicas }}{{ end -}}
{{- end }}

{{- /* The names under which this cluster reaches the Services: with dots, so that the proxy has to be told. */ -}}
{{- define "dynproxy.hosts" -}}
{{- $hosts := .Values.allowedHosts -}}
{{- range $service := list (include "dynproxy.fullname" .) (printf "%s-ops" (include "dynproxy.fullname" .)) -}}
{{- $inside := printf "%s.%s" $service $.Release.Namespace -}}
{{- $hosts = concat $hosts (list $inside (printf "%s.svc" $inside) (printf "%s.svc.%s" $inside $.Values.clusterDomain)) -}}
{{- end -}}
{{- join "," $hosts -}}
{{- end }}

{{- /* GOMEMLIMIT: nine tenths of the container's limit, since not all memory is the heap's. */ -}}
{{- define "dynproxy.memory" -}}
{{- $limit := toString .Values.resources.limits.memory -}}
{{- if not (regexMatch "^[0-9]+(Mi|Gi|M|G)$" $limit) -}}
{{- fail (printf "resources.limits.memory is %s: write it in Mi or Gi, such as 256Mi" $limit) -}}
{{- end -}}
{{- $number := regexFind "^[0-9]+" $limit | int64 -}}
{{- $unit := dict "Mi" 1048576 "Gi" 1073741824 "M" 1000000 "G" 1000000000 -}}
{{- $bytes := mul $number (get $unit (regexFind "[A-Za-z]+$" $limit)) -}}
{{- if lt $bytes (int64 33554432) -}}
{{- fail (printf "resources.limits.memory is %s: a proxy needs 32Mi at least, and 128Mi for many callers" $limit) -}}
{{- end -}}
{{- printf "%dMiB" (div (mul $bytes 9) 10485760) -}}
{{- end }}
