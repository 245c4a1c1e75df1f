package tokens

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/cluster"
	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/emulator"
	"dynproxy/internal/secret"
	"dynproxy/tenants"
)

// fleet is three proxies' tokens, before one emulated Entra ID.
type fleet struct {
	*emulator.Emulator
	sources []*Source
	clients []*cluster.Client
	since   []time.Time
}

func newFleet(t *testing.T, registration tenants.Registration) *fleet {
	t.Helper()
	server, b := redistest.Start(t), newBench(t, 1)
	f := &fleet{Emulator: b.Emulator}
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	for range 3 {
		c, err := cluster.Open(cluster.Options{URL: secret.New(server.URL()), Prefix: "dynproxy", Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); c.State().State != cluster.Shared; c.Join(ctx) {
			if time.Since(began) > 60*time.Second {
				t.Fatal(c.State())
			}
		}
		ended.Go(func() { c.Run(ctx) })
		transport := b.Emulator.Transport()
		s, err := New(Options{
			Registration: registration, Login: transport, Challenge: transport, LoginAllowed: func(string) bool { return true },
			Log: zerolog.Nop(), Shelf: c.Shelf("token"),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close(); transport.CloseIdleConnections(); c.Close() })
		f.sources, f.clients, f.since = append(f.sources, s), append(f.clients, c), append(f.since, c.State().Since)
	}
	t.Cleanup(func() { stop(); ended.Wait() })
	return f
}

// disturbed reports whether the machine was so busy that a proxy was alone.
func (f *fleet) disturbed(t *testing.T) bool {
	for i, c := range f.clients {
		if s := c.State(); s.State != cluster.Shared || !s.Since.Equal(f.since[i]) {
			t.Logf("a proxy was alone: %+v", s)
			return true
		}
	}
	return false
}

// ask has so many callers of each proxy want a token at the same time.
func (f *fleet) ask(t *testing.T, callers int) map[string]bool {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	got := make(map[string]bool)
	one := organization(0)
	for _, s := range f.sources {
		for range callers {
			all.Go(func() {
				header, err := s.Token(context.Background(), one)
				mu.Lock()
				defer mu.Unlock()
				got[header] = true
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	return got
}

func TestThreeThousandColdCallersAtThreeProxiesCostOneMint(t *testing.T) {
	f := newFleet(t, tenants.Registration{ClientID: appID, Secret: secret.New(appSecret)})
	got := f.ask(t, 1000)
	if n := f.Entra().TokenRequests(emulator.TokenRequest{}); !f.disturbed(t) && (n != 1 || len(got) != 1) {
		t.Errorf("%d token requests, %d tokens", n, len(got))
	}
}

// A token is renewed by one proxy for all.
func TestATokenIsRenewedByOneForAll(t *testing.T) {
	f := newFleet(t, tenants.Registration{ClientID: appID, Secret: secret.New(appSecret)})
	f.Entra().SetTokenLife(20*time.Second, 2*time.Second)
	tokens, began := make(map[string]bool), time.Now()
	for len(tokens) < 3 {
		for header := range f.ask(t, 1) {
			tokens[header] = true
		}
		if time.Since(began) > 60*time.Second {
			t.Fatalf("%d tokens", len(tokens))
		}
		time.Sleep(20 * time.Millisecond)
	}
	// One is on its way, perhaps.
	if n := f.Entra().TokenRequests(emulator.TokenRequest{}); !f.disturbed(t) && n > len(tokens)+1 {
		t.Errorf("%d token requests for %d tokens", n, len(tokens))
	}
}
