package chart

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// program is the dynproxy of this tree, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dynproxy-chart-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "dynproxy")
	out, err := exec.Command("go", "-C", "../../..", "build", "-o", path, "./cmd/dynproxy").CombinedOutput()
	os.Stderr.Write(out)
	return path, err
})

var built string

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(status)
}

// pod is a container's file system and environment on this machine.
type pod struct {
	t       *testing.T
	root    string // stands for /
	environ map[string]string
	folders map[string]string // of volumes, by name
}

// newPod makes the folders of a pod's volumes as a kubelet does, and sets its
// environment.
func newPod(t *testing.T, r *rendered, there objects) *pod {
	t.Helper()
	there = r.with(there)
	p := &pod{t: t, root: t.TempDir(), folders: map[string]string{}, environ: map[string]string{"container": "oci"}}
	volumes := make(map[string]corev1.Volume)
	for _, v := range r.deployment.Spec.Template.Spec.Volumes {
		volumes[v.Name] = v
	}
	for _, m := range r.container().VolumeMounts {
		v, is := volumes[m.Name]
		if !is {
			t.Fatalf("%s is mounted and there is no such volume", m.Name)
		}
		delete(volumes, m.Name)
		if m.SubPath != "" {
			t.Errorf("%s: what is mounted by subPath never changes", m.Name)
		}
		p.folders[m.Name] = filepath.Join(p.root, m.MountPath)
		if err := os.MkdirAll(p.folders[m.Name], 0o700); err != nil {
			t.Fatal(err)
		}
		if files := p.files(v, there); files != nil {
			if !m.ReadOnly {
				t.Errorf("%s may be written into", m.Name)
			}
			p.publish(m.Name, files)
		}
	}
	for name := range volumes {
		t.Errorf("the volume %s is mounted nowhere", name)
	}
	for name, value := range r.environ(t, there) {
		if strings.HasPrefix(value, "/etc/") || strings.HasPrefix(value, "/var/") {
			here := filepath.Join(p.root, value)
			// Azure's webhook mounts the token itself.
			if _, err := os.Stat(here); err != nil && !strings.HasPrefix(value, "/var/run/secrets/azure/") {
				t.Errorf("%s: %v", name, err)
			}
			value = here
		}
		p.environ[name] = value
	}
	return p
}

// files are those of a volume that comes from objects, nil of any other.
func (p *pod) files(v corev1.Volume, there objects) map[string]string {
	p.t.Helper()
	files := map[string]string{}
	take := func(name string, items []corev1.KeyToPath) {
		object, is := there[name]
		if !is {
			p.t.Errorf("the volume %s asks for %s, which is not there", v.Name, name)
		}
		for _, item := range items {
			text, is := object[item.Key]
			if !is {
				p.t.Errorf("the volume %s asks for %s of %s, which is not there", v.Name, item.Key, name)
			}
			files[item.Path] = text
		}
		for key, text := range object {
			if len(items) == 0 {
				files[key] = text
			}
		}
	}
	switch {
	case v.Secret != nil:
		if v.Secret.DefaultMode == nil || *v.Secret.DefaultMode&0o007 != 0 {
			p.t.Errorf("everybody reads %s", v.Name)
		}
		take(v.Secret.SecretName, v.Secret.Items)
	case v.ConfigMap != nil:
		take(v.ConfigMap.Name, v.ConfigMap.Items)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			switch {
			case s.Secret != nil:
				take(s.Secret.Name, s.Secret.Items)
			case s.ConfigMap != nil:
				take(s.ConfigMap.Name, s.ConfigMap.Items)
			case s.ServiceAccountToken != nil:
				files[s.ServiceAccountToken.Path] = "token.of.account"
			default:
				p.t.Errorf("%s: %+v", v.Name, s)
			}
		}
	case v.EmptyDir != nil, v.PersistentVolumeClaim != nil:
		return nil
	default:
		p.t.Errorf("a volume of another kind: %+v", v)
	}
	return files
}

// publish puts files into a volume's folder, or others into their place, as a
// kubelet does: behind a link, so that all of them change at once.
func (p *pod) publish(volume string, files map[string]string) {
	p.t.Helper()
	must := func(err error) {
		if err != nil {
			p.t.Helper()
			p.t.Fatal(err)
		}
	}
	folder := p.folders[volume]
	next, err := os.MkdirTemp(folder, "..2026_")
	must(err)
	for name, text := range files {
		must(os.WriteFile(filepath.Join(next, name), []byte(text), 0o440))
	}
	must(os.Symlink(filepath.Base(next), filepath.Join(folder, "..data_tmp")))
	must(os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")))
	for name := range files {
		if _, err := os.Lstat(filepath.Join(folder, name)); err != nil {
			must(os.Symlink(filepath.Join("..data", name), filepath.Join(folder, name)))
		}
	}
}

// command is the program with words, in the pod's surroundings.
func (p *pod) command(words ...string) *exec.Cmd {
	p.t.Helper()
	path, err := program()
	if err != nil {
		p.t.Fatal(err)
	}
	c := exec.Command(path, words...)
	c.Env = []string{"HOME=" + p.root}
	for name, value := range p.environ {
		c.Env = append(c.Env, name+"="+value)
	}
	return c
}

// view is what 'dynproxy config --json' says.
type view struct {
	Settings []struct{ Name, Value, Source string }
	Faults   []struct{ Setting, Fault string }
	Unknown  []string
}

func (p *pod) view() view {
	p.t.Helper()
	out, _ := p.command("config", "--json").Output() // with faults it ends with 2, and prints them
	var v view
	if err := json.Unmarshal(out, &v); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	return v
}
