// Package chart holds the Helm chart to what Kubernetes and the program take:
// it is rendered by helm, decoded strictly by the API's own types, and its pod
// is started.
package chart

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"dynproxy/internal/needs"
)

const chartDir = "../../helm/dynproxy"

// rendered are the objects of a release called r in the namespace crm.
type rendered struct {
	all        map[string]metav1.Object // by kind and name
	deployment *appsv1.Deployment
	services   map[string]*corev1.Service
	secrets    map[string]*corev1.Secret
	configMaps map[string]*corev1.ConfigMap
	claims     map[string]*corev1.PersistentVolumeClaim
	budget     *policyv1.PodDisruptionBudget
	scaler     *autoscalingv2.HorizontalPodAutoscaler
	policy     *networkingv1.NetworkPolicy
	ingress    *networkingv1.Ingress
	account    *corev1.ServiceAccount
	test       *corev1.Pod
	monitor    *serviceMonitor
	rule       *prometheusRule
	route      *httpRoute
	open       string // the text of everything but Secrets
}

// Of objects whose API is no part of Kubernetes', the fields that the chart
// sets, as their definitions name them.
type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		NamespaceSelector struct {
			MatchNames []string `json:"matchNames"`
		} `json:"namespaceSelector"`
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port      string `json:"port"`
			Path      string `json:"path"`
			Interval  string `json:"interval"`
			Scheme    string `json:"scheme"`
			TLSConfig struct {
				ServerName string `json:"serverName"`
			} `json:"tlsConfig"`
			Relabelings []struct {
				TargetLabel string `json:"targetLabel"`
				Replacement string `json:"replacement"`
			} `json:"relabelings"`
			BasicAuth struct {
				Username corev1.SecretKeySelector `json:"username"`
				Password corev1.SecretKeySelector `json:"password"`
			} `json:"basicAuth"`
		} `json:"endpoints"`
	} `json:"spec"`
}

type prometheusRule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []struct {
				Alert       string            `json:"alert"`
				Expr        string            `json:"expr"`
				For         string            `json:"for"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

type httpRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ParentRefs []struct {
			Name        string `json:"name"`
			Namespace   string `json:"namespace"`
			SectionName string `json:"sectionName"`
		} `json:"parentRefs"`
		Hostnames []string `json:"hostnames"`
		Rules     []struct {
			Matches []struct {
				Path struct {
					Type  string `json:"type"`
					Value string `json:"value"`
				} `json:"path"`
			} `json:"matches"`
			BackendRefs []struct {
				Name string `json:"name"`
				Port int    `json:"port"`
			} `json:"backendRefs"`
		} `json:"rules"`
	} `json:"spec"`
}

// helm runs helm, and returns what it prints and says.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	needs.Tool(t, "helm")
	c := exec.Command("helm", args...)
	home := t.TempDir()
	c.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+filepath.Join(home, "none"))
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err = c.Run()
	return out.String(), errs.String(), err
}

// template runs helm template with values.
func template(t *testing.T, values string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return helm(t, append([]string{"template", "r", chartDir, "--namespace", "crm", "-f", valuesFile(t, values)}, args...)...)
}

func valuesFile(t *testing.T, values string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func render(t *testing.T, values string) *rendered {
	t.Helper()
	text, said, err := template(t, values)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	r := &rendered{
		all: map[string]metav1.Object{}, services: map[string]*corev1.Service{}, secrets: map[string]*corev1.Secret{},
		configMaps: map[string]*corev1.ConfigMap{}, claims: map[string]*corev1.PersistentVolumeClaim{},
	}
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		if strings.TrimSpace(document) != "" {
			r.take(t, document)
		}
	}
	if r.deployment == nil || r.test == nil || len(r.services) != 2 {
		t.Fatalf("the least is not there:\n%s", text)
	}
	return r
}

// object is an empty one of a document's kind, nil if the chart makes none
// such.
func (r *rendered) object(kind metav1.TypeMeta) metav1.Object {
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 Deployment":
		r.deployment = new(appsv1.Deployment)
		return r.deployment
	case "v1 Service":
		return new(corev1.Service)
	case "v1 Secret":
		return new(corev1.Secret)
	case "v1 ConfigMap":
		return new(corev1.ConfigMap)
	case "v1 PersistentVolumeClaim":
		return new(corev1.PersistentVolumeClaim)
	case "v1 ServiceAccount":
		r.account = new(corev1.ServiceAccount)
		return r.account
	case "v1 Pod":
		r.test = new(corev1.Pod)
		return r.test
	case "policy/v1 PodDisruptionBudget":
		r.budget = new(policyv1.PodDisruptionBudget)
		return r.budget
	case "autoscaling/v2 HorizontalPodAutoscaler":
		r.scaler = new(autoscalingv2.HorizontalPodAutoscaler)
		return r.scaler
	case "networking.k8s.io/v1 NetworkPolicy":
		r.policy = new(networkingv1.NetworkPolicy)
		return r.policy
	case "networking.k8s.io/v1 Ingress":
		r.ingress = new(networkingv1.Ingress)
		return r.ingress
	case "monitoring.coreos.com/v1 ServiceMonitor":
		r.monitor = new(serviceMonitor)
		return r.monitor
	case "monitoring.coreos.com/v1 PrometheusRule":
		r.rule = new(prometheusRule)
		return r.rule
	case "gateway.networking.k8s.io/v1 HTTPRoute":
		r.route = new(httpRoute)
		return r.route
	}
	return nil
}

// take reads one document strictly: a field that its type does not have, or a
// name twice, is an error.
func (r *rendered) take(t *testing.T, document string) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	object := r.object(kind)
	if object == nil {
		t.Fatalf("nobody knows %s %s\n%s", kind.APIVersion, kind.Kind, document)
	}
	if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	key := kind.Kind + " " + object.GetName()
	if r.all[key] != nil {
		t.Errorf("two are called %s", key)
	}
	r.all[key] = object
	switch o := object.(type) {
	case *corev1.Secret:
		r.secrets[o.Name] = o
		return
	case *corev1.Service:
		r.services[o.Name] = o
	case *corev1.ConfigMap:
		r.configMaps[o.Name] = o
	case *corev1.PersistentVolumeClaim:
		r.claims[o.Name] = o
	}
	r.open += document
}

// container is the proxy's.
func (r *rendered) container() corev1.Container { return r.deployment.Spec.Template.Spec.Containers[0] }

// environ are the values of the container's variables; those from Secrets are
// taken from what is there.
func (r *rendered) environ(t *testing.T, there objects) map[string]string {
	t.Helper()
	set := make(map[string]string)
	for _, e := range r.container().Env {
		if _, twice := set[e.Name]; twice {
			t.Errorf("%s is set twice", e.Name)
		}
		set[e.Name] = e.Value
		if e.ValueFrom != nil {
			from := e.ValueFrom.SecretKeyRef
			value, is := there[from.Name][from.Key]
			if !is {
				t.Errorf("%s asks for %s of Secret %s, which is not there", e.Name, from.Key, from.Name)
			}
			set[e.Name] = value
		}
	}
	return set
}

// with adds what the chart itself makes to what the cluster holds.
func (r *rendered) with(there objects) objects {
	for name, s := range r.secrets {
		there[name] = s.StringData
	}
	for name, m := range r.configMaps {
		there[name] = m.Data
	}
	return there
}
