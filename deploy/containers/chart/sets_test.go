package chart

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// objects are Secrets and ConfigMaps by name, each with its files.
type objects map[string]map[string]string

const (
	clientID = "6f1a4c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b"
	canary   = "s3cret-that-no-ConfigMap-holds"
	callKey  = "a-key-of-a-caller-that-is-long-enough-000000"
	keyHash  = "5b3e3d4d4f4f7a86eb3a7e9b4a2c1a5f0d7e6f1a2b3c4d5e6f708192a3b4c5d6" // of another key
)

// sets are values as users give them.
var sets = map[string]string{
	"the least": `
clientId: ` + clientID + `
credential: {existingSecret: app}
ops: {existingSecret: ops}
tenants: {files: {contoso: {ORG_URL: "https://contoso.crm.dynamics.com"}}}
callers: {existingSecret: callers}
`,
	"all by values": `
clientId: ` + clientID + `
credential: {secret: ` + canary + `-1}
ops: {password: ` + canary + `-2, username: joe}
tenants:
  files:
    contoso: {ORG_URL: "https://contoso.crm.dynamics.com", READ_ONLY: true, REQUESTS: 3000, PATHS: [/api/data/, /api/search/]}
    fabrikam: {ORG_URL: "https://fabrikam.crm4.dynamics.com"}
  existingSecret: tenants
callers:
  files: {webform: {KEY_SHA256: ` + keyHash + `, TENANTS: [contoso], WEIGHT: 2}}
  allowCidrs: [10.0.0.0/8, "fd00::/8"]
redis: {url: "redis://:` + canary + `-3@redis:6379/0", prefix: crm}
replicas: 3
settings: {LOG_LEVEL: debug, MAX_CONNECTIONS: 5000, TENANT_QUEUE_WAIT: 10s, UPSTREAM_TIMEOUT: 2m}
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}, {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: "http://collector:4318"}]
serviceMonitor: {enabled: true}
podAnnotations: {a.example.com/b: c}
podLabels: {team: crm}
`,
	"certificates everywhere": `
clientId: ` + clientID + `
credential: {type: certificate, existingSecret: app}
ops: {existingSecret: ops, keys: {username: user, password: pass}, tls: {existingSecret: tls}, service: {type: LoadBalancer, port: 443, annotations: {a: b}}}
tls: {existingSecret: tls, callerCASecret: callerca}
tenants: {existingConfigMap: tenants-map}
trustedCA: {existingConfigMap: ca}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
consent: {publicUrl: "https://dynproxy.example.com"}
publicUrl: https://crm.example.com
service: {type: LoadBalancer, port: 443, externalTrafficPolicy: Local, annotations: {x: why}, loadBalancerSourceRanges: [10.0.0.0/8]}
`,
	"workload identity, several without Redis": `
clientId: ` + clientID + `
credential: {type: workloadIdentity}
linkKey: {existingSecret: link}
ops: {existingSecret: ops}
tenants: {existingSecret: tenants}
callers: {existingConfigMap: callers-map}
replicas: 4
networkPolicy: {enabled: true, callersFrom: [{namespaceSelector: {matchLabels: {team: crm}}}], opsFrom: [{podSelector: {}}]}
podDisruptionBudget: {maxUnavailable: 25%}
`,
	"all of the cluster": `
clientId: ` + clientID + `
credential: {type: workloadIdentity, workloadIdentity: {azureWebhook: true}}
ops: {existingSecret: ops}
tenants: {files: {contoso: {ORG_URL: "https://contoso.crm.dynamics.com"}}}
callers: {existingSecret: callers}
redis: {existingSecret: redis}
autoscaling: {enabled: true, minReplicas: 2, maxReplicas: 6}
consent:
  publicUrl: https://dynproxy.example.com
  ingress: {enabled: true, className: nginx, host: dynproxy.example.com, tlsSecret: tls, annotations: {c: d}}
  httpRoute: {enabled: true, parentRefs: [{name: gateway, namespace: infra, sectionName: https}], hostnames: [dynproxy.example.com]}
networkPolicy: {enabled: true}
serviceMonitor: {enabled: true}
prometheusRule: {enabled: true, labels: {release: prometheus}}
dashboard: {enabled: true}
image: {repository: registry.example.com/dynproxy, digest: "sha256:` + keyHash + `"}
imagePullSecrets: [{name: registry}]
drain: {delaySeconds: 20, timeoutSeconds: 300}
spool: {size: 512Mi}
resources: {requests: {cpu: 500m, memory: 128Mi}, limits: {memory: 1Gi, cpu: 2}}
nodeSelector: {kubernetes.io/arch: arm64}
tolerations: [{key: crm, operator: Exists}]
affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: zone}}]}}
priorityClassName: high
fullnameOverride: crm-proxy
`,
	"managed identity, what is kept": `
clientId: ` + clientID + `
credential: {type: managedIdentity, managedIdentity: 0b3c5a6d-1111-4222-8333-444455556666}
ops: {password: ` + canary + `-2}
tenants: {files: {contoso: {ORG_URL: "https://contoso.crm.dynamics.com"}}}
callers: {allowAnonymous: true}
state: {size: 2Gi, persistence: {enabled: true, storageClass: fast, annotations: {keep: "yes"}}}
serviceAccount: {create: false, name: somebody}
allowedHosts: ["*.example.com"]
topologySpread: {enabled: false}
podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}
`,
}

// cluster holds what values name as existing.
func cluster(t *testing.T) objects {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := certificateOf(t, k, &k.PublicKey)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return objects{
		"app":         {"client-secret": "an-app-secret-of-some-length", "app.pem": certificateOf(t, rsaKey, &rsaKey.PublicKey) + keyText(t, rsaKey)},
		"ops":         {"username": "operator", "password": "an operator's password", "user": "operator", "pass": "an operator's password"},
		"callers":     {"webform.env": "KEY_SHA256=" + keyHash + "\n"},
		"callers-map": {"webform.env": "KEY_SHA256=" + keyHash + "\r\nTENANTS=contoso\r\n"},
		"tenants":     {"northwind.env": "ORG_URL=https://northwind.crm.dynamics.com\nCLIENT_ID=" + clientID + "\nCLIENT_SECRET=an-other-secret-of-some-length\n"},
		"tenants-map": {"contoso.env": "ORG_URL=https://contoso.crm.dynamics.com\n"},
		"tls":         {"tls.crt": certificate, "tls.key": keyText(t, k)},
		"callerca":    {"ca.crt": certificate},
		"ca":          {"ca.crt": certificate},
		"link":        {"link-key": "Q2h5vD9sZ0tqjXzVYw4pA1nE7mLrUk8c"},
		"redis":       {"redis-url": "redis://127.0.0.1:1/0"},
	}
}

// certificateOf is a certificate that a key signs for itself, as PEM.
func certificateOf(t *testing.T, key, public any) string {
	t.Helper()
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dynproxy"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func keyText(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
