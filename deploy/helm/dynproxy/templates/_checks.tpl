{{- /* What cannot work is refused here, in words, with the cure. */ -}}
{{- define "dynproxy.checks" -}}
{{- $v := .Values -}}
{{- if not $v.clientId -}}
{{- fail "clientId is missing: the application (client) id of a multi-tenant Entra app registration" -}}
{{- end -}}
{{- if and (eq $v.credential.type "secret") (not $v.credential.existingSecret) (not $v.credential.secret) -}}
{{- fail (printf "the app's secret is missing: kubectl create secret generic dynproxy-app --from-file=%s=FILE, and set credential.existingSecret=dynproxy-app" $v.credential.keys.secret) -}}
{{- end -}}
{{- if and (eq $v.credential.type "certificate") (not $v.credential.existingSecret) -}}
{{- fail (printf "the app's certificate is missing: kubectl create secret generic dynproxy-app --from-file=%s=FILE, and set credential.existingSecret=dynproxy-app" $v.credential.keys.certificate) -}}
{{- end -}}
{{- if and $v.credential.existingSecret $v.credential.secret -}}
{{- fail "credential.existingSecret and credential.secret exclude each other: set one" -}}
{{- end -}}
{{- if and $v.credential.secret (or (ne $v.credential.type "secret") $v.credential.keys.next) -}}
{{- fail "credential.secret is one secret and no more; put certificates, and secrets that change, into a Secret and set credential.existingSecret" -}}
{{- end -}}
{{- if and (not $v.ops.existingSecret) (not $v.ops.password) -}}
{{- fail "operators need a password, since their port can be reached from the cluster: set ops.existingSecret (a Secret with username and password), or ops.password" -}}
{{- end -}}
{{- if and $v.ops.existingSecret $v.ops.password -}}
{{- fail "ops.existingSecret and ops.password exclude each other: set one" -}}
{{- end -}}
{{- if not (or $v.tenants.files $v.tenants.existingConfigMap $v.tenants.existingSecret $v.settings.TENANTS $v.settings.TENANTS_REDIS) -}}
{{- fail "there is no tenant: set tenants.files (contoso: {ORG_URL: https://contoso.crm.dynamics.com}), tenants.existingConfigMap or tenants.existingSecret" -}}
{{- end -}}
{{- if not (or (include "dynproxy.hasFileCallers" .) $v.callers.allowCidrs $v.callers.allowAnonymous $v.tls.callerCASecret $v.settings.TENANTS_REDIS) -}}
{{- fail "nobody may call: set callers.files or callers.existingSecret (by keys), callers.allowCidrs (by addresses), or callers.allowAnonymous=true (whoever reaches the Service acts as the app)" -}}
{{- end -}}
{{- if and $v.redis.existingSecret $v.redis.url -}}
{{- fail "redis.existingSecret and redis.url exclude each other: set one" -}}
{{- end -}}
{{- if and $v.tls.callerCASecret (not $v.tls.existingSecret) -}}
{{- fail "tls.callerCASecret needs tls.existingSecret too: callers show certificates only over TLS" -}}
{{- end -}}
{{- if and $v.consent.ingress.enabled (not $v.consent.ingress.host) -}}
{{- fail "consent.ingress.enabled needs consent.ingress.host" -}}
{{- end -}}
{{- if and (or $v.consent.ingress.enabled $v.consent.httpRoute.enabled) (not $v.consent.publicUrl) -}}
{{- fail "consent.publicUrl is missing: the address under which administrators reach what consent.ingress or consent.httpRoute opens, such as https://dynproxy.example.com" -}}
{{- end -}}
{{- if and $v.consent.httpRoute.enabled (not $v.consent.httpRoute.parentRefs) -}}
{{- fail "consent.httpRoute.parentRefs is missing: the Gateway that takes the route" -}}
{{- end -}}
{{- include "dynproxy.checkSeveral" . -}}
{{- include "dynproxy.checkSettings" . -}}
{{- end }}

{{- define "dynproxy.checkSeveral" -}}
{{- $v := .Values -}}
{{- if gt (int (include "dynproxy.most" .)) 1 -}}
{{- if $v.state.persistence.enabled -}}
{{- fail "state.persistence is for one proxy: set replicas=1 and autoscaling.enabled=false, or state.persistence.enabled=false (with redis, what is kept is there)" -}}
{{- end -}}
{{- if not (or (include "dynproxy.hasAppSecret" .) $v.linkKey.existingSecret (include "dynproxy.hasRedis" .)) -}}
{{- fail "without a secret of the app each proxy would sign consent links by a key of its own, and refuse those of the others: set linkKey.existingSecret (kubectl create secret generic dynproxy-link --from-literal=link-key=$(openssl rand -base64 32))" -}}
{{- end -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is larger than autoscaling.maxReplicas" -}}
{{- end -}}
{{- end }}

{{- /* Settings that have values of their own may not come by another way; a secret may not come as plain text. */ -}}
{{- define "dynproxy.checkSettings" -}}
{{- $places := dict
  "LISTEN" "service.port (the pod's own is 8080)" "OPS_LISTEN" "ops.service.port (the pod's own is 8081)"
  "CLIENT_ID" "clientId" "CLIENT_SECRET" "credential.existingSecret" "CLIENT_SECRET_FILE" "credential.existingSecret"
  "CLIENT_SECRET_NEXT" "credential.keys.next" "CLIENT_SECRET_NEXT_FILE" "credential.keys.next"
  "CLIENT_CERTIFICATE_FILE" "credential.type=certificate" "CLIENT_CERTIFICATE_PASSWORD_FILE" "credential.keys.password"
  "FEDERATED_TOKEN_FILE" "credential.type=workloadIdentity" "MANAGED_IDENTITY" "credential.type=managedIdentity"
  "LINK_KEY_FILE" "linkKey.existingSecret" "OPS_PASSWORD" "ops.existingSecret" "OPS_PASSWORD_FILE" "ops.existingSecret"
  "OPS_TLS_CERT_FILE" "ops.tls.existingSecret" "OPS_TLS_KEY_FILE" "ops.tls.existingSecret" "TLS_CERT_FILE" "tls.existingSecret" "TLS_KEY_FILE" "tls.existingSecret"
  "CALLER_CA_FILE" "tls.callerCASecret" "TENANTS_DIR" "tenants.files" "CALLERS_DIR" "callers.files" "ALLOW_CIDRS" "callers.allowCidrs"
  "ALLOW_ANONYMOUS" "callers.allowAnonymous" "ALLOWED_HOSTS" "allowedHosts" "PUBLIC_URL" "publicUrl" "OPS_PUBLIC_URL" "consent.publicUrl"
  "DRAIN_DELAY" "drain.delaySeconds" "DRAIN_TIMEOUT" "drain.timeoutSeconds" "SPOOL_DIR" "spool.size" "SPOOL_MAX" "spool.size"
  "STATE_DIR" "state" "TRUSTED_CA_FILE" "trustedCA.existingConfigMap" "REDIS_URL" "redis.existingSecret" "REDIS_PREFIX" "redis.prefix"
  "NOTIFY_URL" "extraEnv (with valueFrom.secretKeyRef: it is a secret)" "TENANT_CLIENT_SECRET" "tenants.existingSecret" "TENANT_CLIENT_SECRET_NEXT" "tenants.existingSecret" -}}
{{- range $name, $_ := .Values.settings -}}
{{- if hasPrefix "DYNPROXY_" $name -}}
{{- fail (printf "settings.%s: write it without DYNPROXY_" $name) -}}
{{- end -}}
{{- with get $places $name -}}
{{- fail (printf "settings.%s: that is set by %s" $name .) -}}
{{- end -}}
{{- end -}}
{{- range $tenant, $set := .Values.tenants.files -}}
{{- if not (hasKey $set "ORG_URL") -}}
{{- fail (printf "tenants.files.%s: ORG_URL is missing, such as https://%s.crm.dynamics.com" $tenant $tenant) -}}
{{- end -}}
{{- range $secret := list "CLIENT_SECRET" "CLIENT_SECRET_NEXT" -}}
{{- if hasKey $set $secret -}}
{{- fail (printf "tenants.files.%s: %s is a secret, and this becomes a ConfigMap: put the tenant's file into a Secret, and set tenants.existingSecret" $tenant $secret) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* A file NAME=value of a tenant or caller. A line break would begin a setting that nobody wrote. */ -}}
{{- define "dynproxy.envFile" -}}
{{- range $name, $value := . -}}
{{- $text := ternary (join "," $value) (toString $value) (kindIs "slice" $value) -}}
{{- if kindIs "float64" $value }}{{ $text = toString (ternary (int64 $value) $value (eq (floor $value) $value)) }}{{ end -}}
{{- if regexMatch "[\r\n]" $text -}}
{{- fail (printf "%s holds a line break; a setting is one line" $name) -}}
{{- end -}}
{{ $name }}={{ $text }}
{{ end -}}
{{- end }}
