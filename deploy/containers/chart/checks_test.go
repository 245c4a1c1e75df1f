package chart

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// checkSelectors holds that what selects pods selects the proxy's, and not
// that of helm's test.
func (r *rendered) checkSelectors(t *testing.T) {
	t.Helper()
	selects := func(who string, s *metav1.LabelSelector) {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil || selector.Empty() || !selector.Matches(labels.Set(r.deployment.Spec.Template.Labels)) {
			t.Errorf("%s does not select the proxy's pods: %v, %v", who, selector, err)
		}
		if selector.Matches(labels.Set(r.test.Labels)) {
			t.Errorf("%s selects the pod of helm's test", who)
		}
	}
	selects("the deployment", r.deployment.Spec.Selector)
	for name, s := range r.services {
		selects(name, metav1.SetAsLabelSelector(s.Spec.Selector))
	}
	if r.budget != nil {
		selects("the budget", r.budget.Spec.Selector)
	}
	if r.policy != nil {
		selects("the policy", &r.policy.Spec.PodSelector)
	}
	for _, c := range r.deployment.Spec.Template.Spec.TopologySpreadConstraints {
		selects(c.TopologyKey, c.LabelSelector)
	}
	if r.scaler != nil && (r.scaler.Spec.ScaleTargetRef.Name != r.deployment.Name || r.deployment.Spec.Replicas != nil) {
		t.Errorf("scaled is %+v, and the deployment has replicas %v", r.scaler.Spec.ScaleTargetRef, r.deployment.Spec.Replicas)
	}
	if r.monitor != nil {
		r.checkMonitor(t)
	}
}

// checkMonitor holds that Prometheus finds the operators' Service alone, and
// has its password.
func (r *rendered) checkMonitor(t *testing.T) {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(&r.monitor.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	found, e := 0, r.monitor.Spec.Endpoints[0]
	for _, s := range r.services {
		if selector.Matches(labels.Set(s.Labels)) && s.Spec.Ports[0].Name == e.Port {
			found++
		}
	}
	if found != 1 || !slices.Contains(r.monitor.Spec.NamespaceSelector.MatchNames, "crm") || e.Path != "/metrics" {
		t.Errorf("the monitor finds %d services: %+v", found, r.monitor.Spec)
	}
	there := r.with(cluster(t))
	for _, key := range []corev1.SecretKeySelector{e.BasicAuth.Username, e.BasicAuth.Password} {
		if there[key.Name][key.Key] == "" {
			t.Errorf("the monitor has no %s of %s", key.Key, key.Name)
		}
	}
	if len(e.Relabelings) != 1 || e.Relabelings[0].TargetLabel != "job" || e.Relabelings[0].Replacement != "dynproxy" {
		t.Errorf("the alert rules do not find it: %+v", e.Relabelings)
	}
}

// checkPorts holds that every port that is named is one of the container's,
// and that the program listens there, under the names of its Services.
func (r *rendered) checkPorts(t *testing.T) {
	t.Helper()
	c := r.container()
	set := r.environ(t, r.with(cluster(t)))
	ports := make(map[string]string)
	for _, p := range c.Ports {
		ports[p.Name] = fmt.Sprintf(":%d", p.ContainerPort)
	}
	if ports["callers"] != set["DYNPROXY_LISTEN"] || ports["ops"] != set["DYNPROXY_OPS_LISTEN"] {
		t.Errorf("ports %q, but it listens at %q and %q", ports, set["DYNPROXY_LISTEN"], set["DYNPROXY_OPS_LISTEN"])
	}
	scheme := corev1.URISchemeHTTP
	if set["DYNPROXY_OPS_TLS_CERT_FILE"] != "" {
		scheme = corev1.URISchemeHTTPS
	}
	for _, p := range []struct {
		path  string
		probe *corev1.Probe
	}{{"/healthz", c.LivenessProbe}, {"/healthz", c.StartupProbe}, {"/readyz", c.ReadinessProbe}} {
		if p.probe == nil || p.probe.HTTPGet.Path != p.path || p.probe.HTTPGet.Port.StrVal != "ops" || p.probe.HTTPGet.Scheme != scheme {
			t.Errorf("the probe of %s: %+v", p.path, p.probe)
		}
	}
	hosts := strings.Split(set["DYNPROXY_ALLOWED_HOSTS"], ",")
	for name, s := range r.services {
		want := "callers"
		if strings.HasSuffix(name, "-ops") {
			want = "ops"
		}
		if len(s.Spec.Ports) != 1 || s.Spec.Ports[0].TargetPort.StrVal != want {
			t.Errorf("%s: %+v", name, s.Spec.Ports)
		}
		for _, host := range []string{name + ".crm", name + ".crm.svc", name + ".crm.svc.cluster.local"} {
			if !slices.Contains(hosts, host) {
				t.Errorf("%s is a name of the cluster for it, and not allowed: %q", host, hosts)
			}
		}
	}
}

// checkDoors holds that what opens the operators' port to the world opens
// consent alone.
func (r *rendered) checkDoors(t *testing.T) {
	t.Helper()
	may := []string{"/consent", "/portal.css"}
	if r.ingress != nil {
		for _, path := range r.ingress.Spec.Rules[0].HTTP.Paths {
			if s := r.services[path.Backend.Service.Name]; s == nil || s.Spec.Ports[0].Name != path.Backend.Service.Port.Name {
				t.Errorf("%s leads nowhere: %+v", path.Path, path.Backend)
			}
			if !slices.Contains(may, path.Path) {
				t.Errorf("the ingress opens %s", path.Path)
			}
		}
	}
	if r.route != nil {
		for _, b := range r.route.Spec.Rules[0].BackendRefs {
			if s := r.services[b.Name]; s == nil || int(s.Spec.Ports[0].Port) != b.Port {
				t.Errorf("the route leads nowhere: %+v", b)
			}
		}
		for _, m := range r.route.Spec.Rules[0].Matches {
			if !slices.Contains(may, m.Path.Value) {
				t.Errorf("the route opens %s", m.Path.Value)
			}
		}
	}
	if r.policy != nil {
		for _, in := range r.policy.Spec.Ingress {
			if in.Ports[0].Port.StrVal == "ops" && len(in.From) == 0 {
				t.Error("the policy opens the operators' port to everybody")
			}
		}
	}
}

// checkSecurity holds a pod to the restricted profile of Kubernetes' pod
// security standards, and to a root that is read only.
func checkSecurity(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	s := pod.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || s.RunAsUser != nil && *s.RunAsUser == 0 {
		t.Errorf("the pod: %+v", s)
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Error("the pod has what it does not need")
	}
	for _, c := range pod.Containers {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
			!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 || s.Privileged != nil {
			t.Errorf("%s: %+v", c.Name, s)
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() {
			t.Errorf("%s has no limit of memory", c.Name)
		}
	}
}

// checkBounds holds that a pod may take as long as the program does to end,
// and that the program knows its bounds of memory and disk.
func (r *rendered) checkBounds(t *testing.T) {
	t.Helper()
	set := r.environ(t, r.with(cluster(t)))
	delay, err := time.ParseDuration(set["DYNPROXY_DRAIN_DELAY"])
	if err != nil {
		t.Error(err)
	}
	drain, err := time.ParseDuration(set["DYNPROXY_DRAIN_TIMEOUT"])
	if err != nil {
		t.Error(err)
	}
	pod := r.deployment.Spec.Template.Spec
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace <= delay+drain {
		t.Errorf("it is killed after %v, and may take %v", grace, delay+drain)
	}
	if r.container().Lifecycle != nil {
		t.Error("the image has nothing that a hook could run")
	}
	limits := r.container().Resources.Limits
	memory := limits.Memory()
	var most int64
	if _, err := fmt.Sscanf(set["GOMEMLIMIT"], "%dMiB", &most); err != nil {
		t.Error(err)
	}
	if limit := memory.Value(); most<<20 > limit*9/10 || most<<20 < limit*8/10 {
		t.Errorf("GOMEMLIMIT is %s, of %d", set["GOMEMLIMIT"], limit)
	}
	size := strings.NewReplacer("GB", "Gi", "MB", "Mi").Replace(set["DYNPROXY_SPOOL_MAX"])
	for _, v := range pod.Volumes {
		if v.Name == "spool" && (v.EmptyDir == nil || v.EmptyDir.SizeLimit.String() != size) {
			t.Errorf("the spool: %+v, and the program takes %s", v.EmptyDir, size)
		}
	}
}
