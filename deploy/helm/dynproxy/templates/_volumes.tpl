{{- /* Folders, never single files: so a change arrives in the pod. */ -}}
{{- define "dynproxy.volumes" -}}
{{- $v := .Values }}
- name: spool
  emptyDir: {sizeLimit: {{ $v.spool.size }}}
- name: state
{{- if $v.state.persistence.enabled }}
  persistentVolumeClaim: {claimName: {{ default (printf "%s-state" (include "dynproxy.fullname" .)) $v.state.persistence.existingClaim }}}
{{- else }}
  emptyDir: {sizeLimit: {{ $v.state.size }}}
{{- end }}
- name: ops
  secret:
    secretName: {{ include "dynproxy.opsSecret" . }}
    defaultMode: 0440
    items: [{key: {{ include "dynproxy.opsPasswordKey" . }}, path: {{ include "dynproxy.opsPasswordKey" . }}}]
{{- if include "dynproxy.hasAppSecret" . }}
- name: credential
  secret: {secretName: {{ include "dynproxy.credentialSecret" . }}, defaultMode: 0440{{ if not $v.credential.existingSecret }}, items: [{key: client-secret, path: client-secret}]{{ end }}}
{{- else if and (eq $v.credential.type "workloadIdentity") (not $v.credential.workloadIdentity.azureWebhook) }}
- name: azure-identity-token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: azure-identity-token, audience: {{ $v.credential.workloadIdentity.audience | quote }}, expirationSeconds: 3600}
{{- end }}
{{- with $v.linkKey.existingSecret }}
- name: link
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- include "dynproxy.projected" (dict "name" "tenants" "from" $v.tenants "own" (dict "configMap" (printf "%s-tenants" (include "dynproxy.fullname" .)))) }}
{{- include "dynproxy.projected" (dict "name" "callers" "from" $v.callers "own" (dict "secret" (printf "%s-callers" (include "dynproxy.fullname" .)))) }}
{{- range $name, $secret := dict "tls" $v.tls.existingSecret "caller-ca" $v.tls.callerCASecret "ops-tls" $v.ops.tls.existingSecret }}
{{- if $secret }}
- name: {{ $name }}
  secret: {secretName: {{ $secret }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- with $v.trustedCA.existingConfigMap }}
- name: trusted-ca
  configMap: {name: {{ . }}}
{{- end }}
{{- with $v.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* One folder of files that come from the chart's values and from objects that are there. */ -}}
{{- define "dynproxy.projected" }}
{{- if or .from.files .from.existingConfigMap .from.existingSecret }}
- name: {{ .name }}
  projected:
    defaultMode: 0440
    sources:
    {{- if .from.files }}
    {{- range $kind, $object := .own }}
      - {{ $kind }}: {name: {{ $object }}}
    {{- end }}
    {{- end }}
    {{- with .from.existingConfigMap }}
      - configMap: {name: {{ . }}}
    {{- end }}
    {{- with .from.existingSecret }}
      - secret: {name: {{ . }}}
    {{- end }}
{{- end }}
{{- end }}

{{- define "dynproxy.mounts" -}}
{{- $v := .Values }}
- {name: spool, mountPath: /var/spool/dynproxy}
- {name: state, mountPath: /var/lib/dynproxy}
- {name: ops, mountPath: /etc/dynproxy/ops, readOnly: true}
{{- if include "dynproxy.hasAppSecret" . }}
- {name: credential, mountPath: /etc/dynproxy/credential, readOnly: true}
{{- else if and (eq $v.credential.type "workloadIdentity") (not $v.credential.workloadIdentity.azureWebhook) }}
- {name: azure-identity-token, mountPath: /var/run/secrets/azure/tokens, readOnly: true}
{{- end }}
{{- range $name, $there := dict
  "link" $v.linkKey.existingSecret
  "tenants" (or $v.tenants.files $v.tenants.existingConfigMap $v.tenants.existingSecret)
  "callers" (include "dynproxy.hasFileCallers" .)
  "tls" $v.tls.existingSecret "caller-ca" $v.tls.callerCASecret "ops-tls" $v.ops.tls.existingSecret
  "trusted-ca" $v.trustedCA.existingConfigMap }}
{{- if $there }}
- {name: {{ $name }}, mountPath: /etc/dynproxy/{{ $name }}, readOnly: true}
{{- end }}
{{- end }}
{{- with $v.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
