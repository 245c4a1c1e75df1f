package cluster_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/cluster"
	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/limits"
	"dynproxy/internal/sealed"
	"dynproxy/internal/secret"
)

// authority is a certificate of 127.0.0.1 and the pool that trusts it.
func authority(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis of a test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return certFile, keyFile, pool
}

func overTLS(t *testing.T) (*redistest.Server, *x509.CertPool) {
	cert, key, pool := authority(t)
	return redistest.Start(t, "--port", "0", "--tls-port", "{port}", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"), pool
}

// What may be wrong with a Redis is told in plain words, with the cure, and
// without a secret; and nobody waits for it.
func TestWhatIsWrongWithRedisIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		url  func(*testing.T) string
		says string
	}{
		"a wrong password": {func(t *testing.T) string {
			return "redis://:wr0ng-s3cret@" + redistest.Start(t, "--requirepass", "right").Addr()
		}, "does not accept the user or the password; correct DYNPROXY_REDIS_URL"},
		"no password":            {func(t *testing.T) string { return redistest.Start(t, "--requirepass", "right").URL() }, "wants a password"},
		"no such database":       {func(t *testing.T) string { return redistest.Start(t).URL() + "/99" }, "no database of that number"},
		"a replica":              {func(t *testing.T) string { return redistest.Replica(t, redistest.Start(t)).URL() }, "is a replica"},
		"a node of a cluster":    {func(t *testing.T) string { return redistest.Cluster(t)[0].URL() }, "add ?addr=HOST:PORT"},
		"nobody":                 {func(t *testing.T) string { s := redistest.Start(t); s.Kill(); return s.URL() }, "cannot be reached"},
		"TLS where none is":      {func(t *testing.T) string { return "rediss://" + redistest.Start(t).Addr() }, "TLS"},
		"no TLS where one is":    {func(t *testing.T) string { s, _ := overTLS(t); return s.URL() }, "write rediss://"},
		"an unknown certificate": {func(t *testing.T) string { s, _ := overTLS(t); return "rediss://" + s.Addr() }, "DYNPROXY_TRUSTED_CA_FILE"},
		"TIME refused": {func(t *testing.T) string {
			s := redistest.Start(t)
			s.CLI("ACL", "SETUSER", "proxy", "on", ">s3cret", "~*", "+@all", "-time")
			return "redis://proxy:s3cret@" + s.Addr()
		}, "ACL SETUSER"},
		"scripts refused": {func(t *testing.T) string {
			s := redistest.Start(t)
			s.CLI("ACL", "SETUSER", "proxy", "on", ">s3cret", "~*", "+@all", "-@scripting")
			return "redis://proxy:s3cret@" + s.Addr()
		}, "ACL SETUSER"},
		"other keys only": {func(t *testing.T) string {
			s := redistest.Start(t)
			s.CLI("ACL", "SETUSER", "proxy", "on", ">s3cret", "~other:*", "+@all")
			return "redis://proxy:s3cret@" + s.Addr()
		}, "ACL SETUSER"},
		"full": {func(t *testing.T) string {
			s := redistest.Start(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
			s.CLI("EVAL", `local big = string.rep('x', 1000) for i = 1, 10000 do if redis.pcall('SET', 'k' .. i, big).err then return i end end`, "0")
			return s.URL()
		}, "is full"},
		"something else": {func(t *testing.T) string {
			web := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(web.Close)
			return "redis://" + strings.TrimPrefix(web.URL, "http://")
		}, "no Redis"},
		"a sentinel without that primary": {func(t *testing.T) string {
			primary := redistest.Start(t)
			redistest.Replica(t, primary)
			return redistest.Sentinel(t, primary, "main").URL() + "?master_name=other"
		}, "master_name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t, c.url(t))
			until(t, "a reason", func() bool { return strings.Contains(p.State().Error, c.says) })
			if s := p.State(); s.State != cluster.Alone || strings.Contains(s.Error, "s3cret") || strings.Contains(s.Error, "127.0.0.1") {
				t.Errorf("%+v", s)
			}
			if _, _, err := count(p); err == nil {
				t.Error("an exchange went through")
			}
		})
	}
}

func TestRedisOverTLS(t *testing.T) {
	t.Parallel()
	server, pool := overTLS(t)
	trusted := x509.NewCertPool() // as a file that is put right while the proxy runs
	c, err := cluster.Open(cluster.Options{URL: secret.New("rediss://" + server.Addr()), Prefix: "dynproxy", Log: zerolog.Nop(), Roots: func() *x509.CertPool {
		defer func() { trusted = pool }()
		return trusted
	}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	until(t, "Redis", in(c, cluster.Shared))
	if _, _, err := count(c); err != nil {
		t.Error(err)
	}
}

// One that keeps everything and answers slowly, or takes no writes for a while,
// keeps nobody.
func TestASlowRedisKeepsNobody(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := open(t, server.URL())
	until(t, "Redis", in(p, cluster.Shared))
	server.CLI("CLIENT", "PAUSE", "3000", "ALL")
	until(t, "being alone", in(p, cluster.Alone))
	if why := p.State().Error; !strings.Contains(why, "in time") {
		t.Error(why)
	}
	until(t, "Redis", in(p, cluster.Shared))
}

// A full Redis that gets room is used again.
func TestAFullRedisThatGetsRoom(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := open(t, server.URL())
	until(t, "Redis", in(p, cluster.Shared))
	server.CLI("CONFIG", "SET", "maxmemory", "1")
	until(t, "being alone", func() bool { return strings.Contains(p.State().Error, "is full") })
	server.CLI("CONFIG", "SET", "maxmemory", "0")
	until(t, "Redis", in(p, cluster.Shared))
}

// The sentinels name another primary when one is gone, and proxies follow; a
// sentinel that is silent keeps nobody.
func TestASentinelsFailover(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	redistest.Replica(t, primary)
	sentinel := redistest.Sentinel(t, primary, "main")
	p := open(t, sentinel.URL()+"?master_name=main")
	until(t, "Redis", in(p, cluster.Shared))
	if _, _, err := count(p); err != nil {
		t.Fatal(err)
	}
	primary.Kill()
	until(t, "being alone", in(p, cluster.Alone))
	t.Logf("followed after %v", until(t, "the other primary", in(p, cluster.Shared)))
	until(t, "an exchange", func() bool { _, _, err := count(p); return err == nil })
}

func TestASilentSentinelKeepsNobody(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	redistest.Replica(t, primary)
	sentinel := redistest.Sentinel(t, primary, "main")
	sentinel.Pause()
	p := open(t, sentinel.URL()+"?master_name=main")
	until(t, "a reason", func() bool { return !strings.Contains(p.State().Error, "asked yet") })
	if _, _, err := count(p); err == nil {
		t.Error("an exchange went through")
	}
	sentinel.Resume()
	until(t, "Redis", in(p, cluster.Shared))
}

// A cluster serves; a node that is gone keeps nobody.
func TestACluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	p := open(t, nodes[0].URL()+"?addr="+nodes[1].Addr())
	until(t, "the cluster", in(p, cluster.Shared))
	q := open(t, nodes[2].URL()+"?addr="+nodes[1].Addr())
	until(t, "two members", func() bool { return p.Size() == 2 && q.Size() == 2 })
	for _, tag := range []string{"a", "b", "c", "d", "e", "f"} { // on all nodes
		if _, err := p.Eval(t.Context(), increment, []string{p.Key(tag, "count")}, 1); err != nil {
			t.Error(err)
		}
	}
	for _, n := range nodes {
		n.Kill()
	}
	until(t, "being alone", in(p, cluster.Alone))
}

// The lines of rights in the documentation are enough, in each form of a Redis.
func TestTheDocumentedRightsAreEnough(t *testing.T) {
	t.Parallel()
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		mayDoJustThat(t, 0, server)
		url := "redis://dynproxy:s3cret@" + server.Addr()
		p, q := open(t, url), open(t, url)
		until(t, "two members", func() bool { return p.Size() == 2 && q.Size() == 2 })
		everything(t, p)
		nothingWasRefused(t, server)
	})
	t.Run("a cluster", func(t *testing.T) {
		t.Parallel()
		nodes := redistest.Cluster(t)
		mayDoJustThat(t, 0, nodes...)
		c := open(t, "redis://dynproxy:s3cret@"+nodes[0].Addr()+"?addr="+nodes[1].Addr())
		until(t, "the cluster", in(c, cluster.Shared))
		everything(t, c)
		nothingWasRefused(t, nodes...)
	})
	t.Run("sentinels", func(t *testing.T) {
		t.Parallel()
		primary := redistest.Start(t)
		replica := redistest.Replica(t, primary)
		sentinel := redistest.Sentinel(t, primary, "main")
		mayDoJustThat(t, 0, primary, replica)
		mayDoJustThat(t, 1, sentinel)
		sentinel.CLI("ACL", "SETUSER", "default", "-@all", "+acl") // for this test's own questions
		c := open(t, "redis://dynproxy:s3cret@"+sentinel.Addr()+"?master_name=main&username=dynproxy&password=s3cret")
		until(t, "the primary", in(c, cluster.Shared))
		everything(t, c)
		nothingWasRefused(t, primary)
		primary.Kill()
		until(t, "being alone", in(c, cluster.Alone))
		until(t, "the other primary", in(c, cluster.Shared))
		if _, err := c.Eval(t.Context(), increment, []string{c.Key("another", "count")}, 1); err != nil {
			t.Error(err)
		}
		nothingWasRefused(t, replica, sentinel)
	})
}

// mayDoJustThat makes the user of the documentation's n-th line of rights at
// each server.
func mayDoJustThat(t *testing.T, n int, servers ...*redistest.Server) {
	t.Helper()
	text, err := os.ReadFile("../../docs/several-machines.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^ACL SETUSER .*`).FindAllString(string(text), -1)
	if len(lines) != 2 {
		t.Fatalf("the documentation has %d such lines", len(lines))
	}
	for _, s := range servers {
		s.CLI(strings.Fields(strings.ReplaceAll(lines[n], "PASSWORD", "s3cret"))...)
		if list := s.CLI("ACL", "LIST"); !strings.Contains(list, "user dynproxy on") {
			t.Fatal(list)
		}
	}
}

func nothingWasRefused(t *testing.T, servers ...*redistest.Server) {
	t.Helper()
	for _, s := range servers {
		if refused := s.CLI("ACL", "LOG"); refused != "" {
			t.Errorf("rights that are missing:\n%s", refused)
		}
	}
}

// everything is what proxies do with Redis.
func everything(t *testing.T, c *cluster.Client) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	shelf := c.Shelf("token")
	_, _, turn, err := shelf.Claim(ctx, "x", "")
	must(err)
	must(shelf.Fill(ctx, "x", []byte("value"), time.Minute))
	if value, left, _, err := shelf.Claim(ctx, "x", ""); err != nil || value != "value" || left <= 0 || left > time.Minute || !turn {
		t.Error(value, left, turn, err)
	}
	if fresh, err := c.Once(ctx, "consent", "x", time.Minute); err != nil || !fresh {
		t.Error(fresh, err)
	}
	v := c.NewVault(func() []sealed.Key { return []sealed.Key{sealed.NewKey([]byte("a secret"), "test")} })
	must(v.Open(ctx))
	_, err = v.Agree(ctx, "link key", []byte("mine"))
	must(err)
	must(v.TellSealed(ctx, "greeting", "hello"))
	_, err = v.Book().Put(ctx, "tenants/x", "ORG_URL=https://x\n", false, 0)
	must(err)
	_, files, err := v.Book().Since(ctx, 0)
	if err != nil || len(files) != 1 {
		t.Error(files, err)
	}
	_, err = c.Eval(ctx, increment, []string{c.Key("x", "count")}, 1)
	must(err)
	_, _, err = c.Rates().Take(ctx, "x", 10, 10, 1, 0)
	must(err)
	spent := &limits.Statement{Span: time.Second, Requests: 1, Settled: []limits.Amount{{Requests: 1}}, Guess: 1, Limit: 10, MillisLimit: 1000, Need: 1, PlacesWant: 1, PlacesLimit: 1}
	_, err = c.Budgets().Exchange(ctx, limits.Key{Organization: "x", ClientID: "y"}, spent)
	must(err)
}

// What somebody else has put under our names is told with the cure, and a proxy
// that cannot see the others for it does not take itself for one with them.
func TestAKeyOfSomebodyElseIsTold(t *testing.T) {
	t.Parallel()
	for name, foreign := range map[string][]string{
		"another type":  {"LPUSH", "dynproxy:{fleet}:members", "x"},
		"another value": {"SET", "dynproxy:{fleet}:count", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			p := open(t, server.URL())
			until(t, "Redis", in(p, cluster.Shared))
			server.CLI("EVAL", "redis.call('DEL', KEYS[1]) return redis.call(ARGV[1], KEYS[1], ARGV[2])", "1", foreign[1], foreign[0], foreign[2])
			until(t, "being alone", func() bool {
				s := p.State()
				return s.State == cluster.Alone && strings.Contains(s.Error, "DYNPROXY_REDIS_PREFIX")
			})
			server.CLI("DEL", foreign[1])
			until(t, "Redis", in(p, cluster.Shared))
		})
	}
}

// inCluster is a proxy before a cluster whose nodes have a setting of their own.
func inCluster(t *testing.T, setting, value string) (*cluster.Client, []*redistest.Server) {
	t.Helper()
	nodes := redistest.Cluster(t)
	for _, n := range nodes {
		n.CLI("CONFIG", "SET", setting, value)
	}
	p := open(t, nodes[0].URL()+"?addr="+nodes[1].Addr())
	until(t, "the cluster", in(p, cluster.Shared))
	return p, nodes
}

// One node of a cluster is gone. What lies at the others goes on.
func TestAClusterWithoutOneNode(t *testing.T) {
	t.Parallel()
	p, nodes := inCluster(t, "cluster-require-full-coverage", "no")
	gone := slices.IndexFunc(nodes, func(n *redistest.Server) bool { return !strings.Contains(n.CLI("KEYS", "*"), "{fleet}") })
	nodes[gone].Kill()
	turns, last := 0, p.State()
	for began := time.Now(); time.Since(began) < 6*time.Second; time.Sleep(5 * time.Millisecond) {
		for i := range 12 { // on all nodes
			p.Eval(t.Context(), increment, []string{p.Key(fmt.Sprint(i), "count")}, 1)
			if s := p.State(); s.Since != last.Since {
				turns, last = turns+1, s
			}
		}
	}
	if turns > 6 {
		t.Errorf("the state has turned %d times", turns)
	}
	until(t, "what lies at the others", in(p, cluster.Shared))
}
