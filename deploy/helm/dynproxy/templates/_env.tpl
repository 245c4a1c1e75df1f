{{- /* The container's environment. */ -}}
{{- define "dynproxy.env" -}}
- {name: DYNPROXY_LISTEN, value: ":8080"}
- {name: DYNPROXY_OPS_LISTEN, value: ":8081"}
- {name: DYNPROXY_CLIENT_ID, value: {{ .Values.clientId | quote }}}
{{- include "dynproxy.envCredential" . }}
{{- include "dynproxy.envFiles" . }}
{{- with .Values.callers.allowCidrs }}
- {name: DYNPROXY_ALLOW_CIDRS, value: {{ join "," . | quote }}}
{{- end }}
{{- if .Values.callers.allowAnonymous }}
- {name: DYNPROXY_ALLOW_ANONYMOUS, value: "true"}
{{- end }}
- {name: DYNPROXY_ALLOWED_HOSTS, value: {{ include "dynproxy.hosts" . | quote }}}
{{- with .Values.publicUrl }}
- {name: DYNPROXY_PUBLIC_URL, value: {{ . | quote }}}
{{- end }}
{{- with .Values.consent.publicUrl }}
- {name: DYNPROXY_OPS_PUBLIC_URL, value: {{ . | quote }}}
{{- end }}
- {name: DYNPROXY_DRAIN_DELAY, value: {{ printf "%ds" (int .Values.drain.delaySeconds) | quote }}}
- {name: DYNPROXY_DRAIN_TIMEOUT, value: {{ printf "%ds" (int .Values.drain.timeoutSeconds) | quote }}}
- {name: DYNPROXY_SPOOL_DIR, value: /var/spool/dynproxy}
- {name: DYNPROXY_SPOOL_MAX, value: {{ .Values.spool.size | replace "Mi" "MB" | replace "Gi" "GB" | quote }}}
- {name: DYNPROXY_STATE_DIR, value: /var/lib/dynproxy}
- {name: GOMEMLIMIT, value: {{ include "dynproxy.memory" . }}}
{{- include "dynproxy.envSeveral" . }}
{{- range $name, $value := .Values.settings }}
- {name: DYNPROXY_{{ $name }}, value: {{ ternary (int64 $value | toString) (toString $value) (and (kindIs "float64" $value) (eq (floor $value) $value)) | quote }}}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dynproxy.envCredential" }}
{{- $keys := .Values.credential.keys }}
{{- if eq .Values.credential.type "secret" }}
- {name: DYNPROXY_CLIENT_SECRET_FILE, value: {{ include "dynproxy.appFile" . }}}
{{- with $keys.next }}
- {name: DYNPROXY_CLIENT_SECRET_NEXT_FILE, value: /etc/dynproxy/credential/{{ . }}}
{{- end }}
{{- else if eq .Values.credential.type "certificate" }}
- {name: DYNPROXY_CLIENT_CERTIFICATE_FILE, value: {{ include "dynproxy.appFile" . }}}
{{- with $keys.password }}
- {name: DYNPROXY_CLIENT_CERTIFICATE_PASSWORD_FILE, value: /etc/dynproxy/credential/{{ . }}}
{{- end }}
{{- else if eq .Values.credential.type "workloadIdentity" }}
- {name: DYNPROXY_FEDERATED_TOKEN_FILE, value: /var/run/secrets/azure/tokens/azure-identity-token}
{{- else }}
- {name: DYNPROXY_MANAGED_IDENTITY, value: {{ .Values.credential.managedIdentity | quote }}}
{{- end }}
{{- /* The key of links must be the same in every pod, and outlive it. */}}
{{- if .Values.linkKey.existingSecret }}
- {name: DYNPROXY_LINK_KEY_FILE, value: /etc/dynproxy/link/{{ .Values.linkKey.key }}}
{{- else if and (include "dynproxy.hasAppSecret" .) (not .Values.state.persistence.enabled) }}
- {name: DYNPROXY_LINK_KEY_FILE, value: {{ include "dynproxy.appFile" . }}}
{{- end }}
{{- end }}

{{- define "dynproxy.appFile" -}}
{{- $key := ternary .Values.credential.keys.certificate .Values.credential.keys.secret (eq .Values.credential.type "certificate") -}}
{{- if .Values.credential.secret }}{{ $key = "client-secret" }}{{ end -}}
/etc/dynproxy/credential/{{ $key }}
{{- end }}

{{- define "dynproxy.envFiles" }}
- {name: DYNPROXY_OPS_PASSWORD_FILE, value: /etc/dynproxy/ops/{{ include "dynproxy.opsPasswordKey" . }}}
{{- with .Values.tenants }}{{ if or .files .existingConfigMap .existingSecret }}
- {name: DYNPROXY_TENANTS_DIR, value: /etc/dynproxy/tenants}
{{- end }}{{ end }}
{{- if include "dynproxy.hasFileCallers" . }}
- {name: DYNPROXY_CALLERS_DIR, value: /etc/dynproxy/callers}
{{- end }}
{{- if .Values.tls.existingSecret }}
- {name: DYNPROXY_TLS_CERT_FILE, value: /etc/dynproxy/tls/tls.crt}
- {name: DYNPROXY_TLS_KEY_FILE, value: /etc/dynproxy/tls/tls.key}
{{- end }}
{{- if .Values.tls.callerCASecret }}
- {name: DYNPROXY_CALLER_CA_FILE, value: /etc/dynproxy/caller-ca/ca.crt}
{{- end }}
{{- if .Values.ops.tls.existingSecret }}
- {name: DYNPROXY_OPS_TLS_CERT_FILE, value: /etc/dynproxy/ops-tls/tls.crt}
- {name: DYNPROXY_OPS_TLS_KEY_FILE, value: /etc/dynproxy/ops-tls/tls.key}
{{- end }}
{{- if .Values.trustedCA.existingConfigMap }}
- {name: DYNPROXY_TRUSTED_CA_FILE, value: /etc/dynproxy/trusted-ca/{{ .Values.trustedCA.key }}}
{{- end }}
{{- end }}

{{- /* Several proxies share a budget through Redis, or get an equal part of it each. What an operator has set stays. */ -}}
{{- define "dynproxy.envSeveral" }}
{{- $most := int (include "dynproxy.most" .) }}
{{- if include "dynproxy.hasRedis" . }}
- name: DYNPROXY_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ default (include "dynproxy.ownSecret" .) .Values.redis.existingSecret }}
      key: {{ if .Values.redis.existingSecret }}{{ .Values.redis.key }}{{ else }}redis-url{{ end }}
{{- with .Values.redis.prefix }}
- {name: DYNPROXY_REDIS_PREFIX, value: {{ . | quote }}}
{{- end }}
{{- else if gt $most 1 }}
{{- range $name, $part := dict "TENANT_REQUESTS" (div 6000 $most | toString) "TENANT_EXECUTION_TIME" (printf "%ds" (div 1200 $most)) "TENANT_CONCURRENCY" (max 1 (div 52 $most) | toString) }}
{{- if not (hasKey $.Values.settings $name) }}
- {name: DYNPROXY_{{ $name }}, value: {{ $part | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
