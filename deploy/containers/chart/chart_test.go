package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What holds for every set of values.
func TestEverySetIsWhole(t *testing.T) {
	for name, values := range sets {
		t.Run(strings.ReplaceAll(name, ",", ""), func(t *testing.T) {
			t.Parallel()
			r := render(t, values)
			r.checkSelectors(t)
			r.checkPorts(t)
			r.checkDoors(t)
			r.checkBounds(t)
			checkSecurity(t, r.deployment.Spec.Template.Spec)
			checkSecurity(t, r.test.Spec)
			if strings.Contains(r.open, canary) {
				t.Error("a secret stands outside of a Secret")
			}
			told := newPod(t, r, cluster(t)).view()
			if len(told.Faults) > 0 || len(told.Unknown) > 0 {
				t.Errorf("the program refuses it: %+v, %q", told.Faults, told.Unknown)
			}
			known := map[string]bool{"GOMEMLIMIT": true}
			for _, s := range told.Settings {
				known[s.Name] = true
			}
			for _, e := range r.container().Env {
				if !known[e.Name] {
					t.Errorf("%s is no setting", e.Name)
				}
			}
		})
	}
}

// What one set or another must have besides.
func TestWhatTheSetsAreFor(t *testing.T) {
	value := func(r *rendered, name string) string { return r.environ(t, r.with(cluster(t)))[name] }
	least := render(t, sets["the least"])
	if least.budget != nil || least.scaler != nil || least.policy != nil || least.monitor != nil || len(least.secrets) != 0 || *least.deployment.Spec.Replicas != 1 {
		t.Errorf("more than the least: %v", least.all)
	}
	if value(least, "DYNPROXY_LINK_KEY_FILE") != value(least, "DYNPROXY_CLIENT_SECRET_FILE") || value(least, "DYNPROXY_TENANT_REQUESTS") != "" {
		t.Error("consent links end with the pod, or the budget of one is divided")
	}

	several := render(t, sets["workload identity, several without Redis"])
	for name, want := range map[string]string{"TENANT_REQUESTS": "1500", "TENANT_EXECUTION_TIME": "300s", "TENANT_CONCURRENCY": "13"} {
		if got := value(several, "DYNPROXY_"+name); got != want {
			t.Errorf("%s of each of four: %s, want %s", name, got, want)
		}
	}
	if several.budget == nil || several.services["r-dynproxy-ops"].Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		t.Error("no disruption budget, or operators go from one to another")
	}
	if several.deployment.Spec.Template.Labels["azure.workload.identity/use"] != "" {
		t.Error("the webhook is asked too")
	}

	whole := render(t, sets["all of the cluster"])
	if whole.deployment.Spec.Template.Labels["azure.workload.identity/use"] != "true" || whole.account.Annotations["azure.workload.identity/client-id"] != clientID {
		t.Error("Azure's webhook does not know the pod")
	}
	if value(whole, "DYNPROXY_REDIS_URL") == "" || value(whole, "DYNPROXY_TENANT_REQUESTS") != "" || whole.services["crm-proxy-ops"].Spec.SessionAffinity != "" {
		t.Error("with Redis they are not one")
	}
	if whole.scaler == nil || whole.ingress == nil || whole.route == nil || whole.policy == nil || whole.container().Image != "registry.example.com/dynproxy@sha256:"+keyHash {
		t.Errorf("%v, %s", whole.all, whole.container().Image)
	}
	if len(whole.rule.Spec.Groups[0].Rules) < 15 || len(whole.configMaps["crm-proxy-dashboard"].Data["dynproxy.json"]) < 10_000 {
		t.Error("rules or panels are missing")
	}

	text := render(t, sets["all by values"])
	before := text.deployment.Spec.Template.Annotations["checksum/redis"]
	after := render(t, strings.Replace(sets["all by values"], "-3@redis", "-4@redis", 1)).deployment.Spec.Template.Annotations["checksum/redis"]
	if before == "" || before == after {
		t.Error("another address of Redis rolls nothing")
	}
	if want := "ORG_URL=https://contoso.crm.dynamics.com\nPATHS=/api/data/,/api/search/\nREAD_ONLY=true\nREQUESTS=3000\n"; text.configMaps["r-dynproxy-tenants"].Data["contoso.env"] != want {
		t.Errorf("%q", text.configMaps["r-dynproxy-tenants"].Data)
	}

	kept := render(t, sets["managed identity, what is kept"])
	if len(kept.claims) != 1 || kept.deployment.Spec.Strategy.Type != "Recreate" || kept.account != nil || kept.deployment.Spec.Template.Spec.ServiceAccountName != "somebody" {
		t.Errorf("%v", kept.all)
	}
}

// Nonsense is refused before it reaches a cluster, in words.
func TestNonsenseIsRefused(t *testing.T) {
	for change, want := range map[string]string{
		"clientId=":                         "clientId is missing",
		"clientId=contoso":                  "/clientId",
		"credential.existingSecret=":        "the app's secret is missing: kubectl create secret",
		"credential.secret=x":               "exclude each other",
		"credential.type=password":          "/credential/type",
		"ops.existingSecret=":               "operators need a password",
		"tenants.files=null":                "there is no tenant",
		"tenants.files.fabrikam.RATE=1":     "tenants.files.fabrikam: ORG_URL is missing",
		"tenants.files.contoso.org_url=x":   "org_url",
		"tenants.files.Con toso.ORG_URL=x":  "Con toso",
		"callers.existingSecret=":           "nobody may call: set callers.files",
		"callers.allowCidrs={everybody}":    "/callers/allowCidrs/0",
		"settings.LISTEN=0.0.0.0:1":         "settings.LISTEN: that is set by service.port",
		"settings.DYNPROXY_LOG_LEVEL=debug": "write it without DYNPROXY_",
		"settings.NOTIFY_URL=https://x":     "it is a secret",
		"settings.log_level=debug":          "log_level",
		"replicas=-1":                       "/replicas",
		"replicas=many":                     "/replicas",
		"replica=2":                         "replica",
		"redis.url=http://x":                "/redis/url",
		"resources.limits.memory=lots":      "write it in Mi or Gi",
		"resources.limits.memory=16Mi":      "needs 32Mi at least",
		"spool.size=4GB":                    "/spool/size",
		"drain.timeoutSeconds=0":            "/drain/timeoutSeconds",
		"tls.callerCASecret=x":              "needs tls.existingSecret too",
		"consent.ingress.enabled=true":      "needs consent.ingress.host",
		"service.type=Public":               "/service/type",
		"credential.keys.next=b,credential.existingSecret=,credential.secret=x": "put certificates, and secrets that change, into a Secret",
		"credential.type=certificate,credential.existingSecret=":                "the app's certificate is missing",
		"ops.existingSecret=,ops.password=short":                                "/ops/password",
		"tenants.files.contoso.CLIENT_SECRET=x":                                 "is a secret, and this becomes a ConfigMap",
		"replicas=2,state.persistence.enabled=true":                             "state.persistence is for one proxy",
		"replicas=2,credential.type=managedIdentity":                            "set linkKey.existingSecret",
		"credential.managedIdentity=foo":                                        "/credential/managedIdentity",
		"redis.url=redis://x,redis.existingSecret=y":                            "exclude each other",
		"consent.ingress.enabled=true,consent.ingress.host=a.b":                 "consent.publicUrl is missing",
		"autoscaling.enabled=true,autoscaling.minReplicas=9":                    "larger than autoscaling.maxReplicas",
		"consent.httpRoute.enabled=true,consent.publicUrl=https:x":              "/consent/publicUrl",
		"consent.httpRoute.enabled=true,consent.publicUrl=https://x":            "consent.httpRoute.parentRefs is missing",
	} {
		if _, said, err := template(t, sets["the least"], "--set", change); err == nil || !strings.Contains(said, want) {
			t.Errorf("%s: %v, want %q in\n%s", change, err, want, said)
		}
	}
	// A value with a line break would write a second setting.
	broken := strings.Replace(sets["the least"], `dynamics.com"`, `dynamics.com\nREAD_ONLY=false"`, 1)
	if _, said, err := template(t, broken); err == nil || !strings.Contains(said, "holds a line break") {
		t.Errorf("%v: %s", err, said)
	}
}

// The chart says what comes next, and warns.
func TestNotesSayWhatComesNext(t *testing.T) {
	for name, want := range map[string][]string{
		"the least": {"http://r-dynproxy.crm:8080/<tenant>/", "/dynproxy check", "/dynproxy consent-url", "consent.publicUrl is not set"},
		"workload identity, several without Redis": {"each of up to 4 proxies has 1/4"},
		"all of the cluster":                       {"The 6 proxies share budgets", "https://dynproxy.example.com/consent/callback must be a redirect URI"},
		"managed identity, what is kept":           {"WARNING: callers.allowAnonymous"},
		"certificates everywhere":                  {"https://r-dynproxy.crm:443/<tenant>/", "https://localhost:8081/"},
	} {
		out, said, err := helm(t, "install", "r", chartDir, "--namespace", "crm", "--dry-run=client", "-f", valuesFile(t, sets[name]))
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		_, notes, _ := strings.Cut(out, "NOTES:")
		for _, line := range want {
			if !strings.Contains(notes, line) {
				t.Errorf("%s: %q is not in\n%s", name, line, notes)
			}
		}
	}
}

func TestTheChartIsClean(t *testing.T) {
	if out, said, err := helm(t, "lint", "--strict", chartDir, "-f", valuesFile(t, sets["all of the cluster"])); err != nil {
		t.Errorf("%v: %s%s", err, out, said)
	}
	// Every value stands in values.yaml and in its schema, which refuses others.
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(chartDir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	schema := read("values.schema.json")
	for _, m := range regexp.MustCompile(`(?m)^([a-zA-Z]+):`).FindAllStringSubmatch(read("values.yaml"), -1) {
		if !strings.Contains(schema, "\n    \""+m[1]+"\": ") {
			t.Errorf("%s is not in the schema", m[1])
		}
	}
}

// The values that the guide tells to write are taken, each file by itself on
// top of the first.
func TestTheGuidesValuesAreTaken(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	files := regexp.MustCompile("(?s)```yaml file (\\S+)\n(.*?)```").FindAllStringSubmatch(string(guide), -1)
	if len(files) < 3 || files[0][1] != "values.yaml" {
		t.Fatalf("%q", files)
	}
	for _, f := range files {
		values := files[0][2]
		if f[1] != files[0][1] {
			values += f[2]
		}
		there := cluster(t)
		for _, name := range []string{"app", "ops", "callers", "redis"} {
			there["dynproxy-"+name] = there[name]
		}
		if told := newPod(t, render(t, values), there).view(); len(told.Faults) > 0 || len(told.Unknown) > 0 {
			t.Errorf("%s: %+v", f[1], told)
		}
	}
}

// The chart is the same once it is packed: what it takes from elsewhere in the
// tree is in it.
func TestTheChartIsWholeWhenItIsPacked(t *testing.T) {
	dir := t.TempDir()
	if out, said, err := helm(t, "package", chartDir, "--version", "1.2.3", "--app-version", "1.2.3", "-d", dir); err != nil {
		t.Fatalf("%v: %s%s", err, out, said)
	}
	text, said, err := helm(t, "template", "r", filepath.Join(dir, "dynproxy-1.2.3.tgz"), "--namespace", "crm", "-f", valuesFile(t, sets["all of the cluster"]))
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, want := range []string{"alert: DynproxyDown", `"title\": \"dynproxy`, `app.kubernetes.io/version: "1.2.3"`} {
		if !strings.Contains(text, want) && !strings.Contains(text, strings.ReplaceAll(want, `\"`, `"`)) {
			t.Errorf("%s is not in it", want)
		}
	}
}
