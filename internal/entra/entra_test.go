package entra_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/emulator"
	"dynproxy/internal/entra"
	"dynproxy/internal/secret"
)

const (
	clientID = "11111111-1111-4111-8111-111111111111"
	password = "pa55-canary-W0rd"
	login    = "login.microsoftonline.com"
)

// harness is an emulated Entra ID with the parts under test before it.
type harness struct {
	*emulator.Emulator
	mint     *entra.TokenClient
	cache    *entra.Cache
	log      *safeBuffer
	identity string // of the registration
	hosts    *hosts // that were spoken to
}

// open builds a harness of so many organizations, org0 and on, all of which have
// consented. It is to be called inside the bubble.
func open(t *testing.T, organizations int, r entra.Registration) *harness {
	t.Helper()
	seed := emulator.Seed{Apps: []emulator.App{{ClientID: clientID, Name: "bridge", Secrets: []string{password}}}}
	for i := range organizations {
		name := fmt.Sprintf("org%d", i)
		seed.Organizations = append(seed.Organizations, emulator.OrganizationSeed{
			Name: name, Hosts: []string{name + ".crm.dynamics.com"}, Consented: []string{clientID},
		})
	}
	emu, err := emulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{Emulator: emu, log: &safeBuffer{}, hosts: &hosts{next: emu.Transport()}}
	log := zerolog.New(h.log).Level(zerolog.TraceLevel)
	h.mint = entra.NewTokenClient(h.hosts, log)
	h.cache = &entra.Cache{Mint: h.mint.Token, Log: log}
	if r == (entra.Registration{}) {
		r = entra.Registration{ClientID: clientID, Secret: secret.New(password)}
	}
	if h.identity, err = h.mint.Register(r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.cache.Close()
		h.hosts.next.CloseIdleConnections()
		emu.Close()
	})
	return h
}

func (h *harness) target(i int) entra.Target {
	o := h.Organization(fmt.Sprintf("org%d", i))
	return entra.Target{
		Login: login, TenantID: o.TenantID(), ClientID: clientID,
		Resource: fmt.Sprintf("https://org%d.crm.dynamics.com", i), Credential: h.identity,
	}
}

func (h *harness) source(i int) *entra.Source { return h.cache.Source(h.target(i)) }

// requests counts those to the token endpoint.
func (h *harness) requests() int { return h.Entra().TokenRequests(emulator.TokenRequest{}) }

func (h *harness) inject(t *testing.T, f emulator.Fault) {
	t.Helper()
	if err := h.Entra().Inject(f); err != nil {
		t.Fatal(err)
	}
}

// hosts notes which hosts are spoken to.
type hosts struct {
	next *http.Transport
	mu   sync.Mutex // guards seen
	seen map[string]int
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	if h.seen == nil {
		h.seen = map[string]int{}
	}
	h.seen[r.URL.Host]++
	h.mu.Unlock()
	return h.next.RoundTrip(r)
}

func (h *hosts) only(t *testing.T, host string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for seen := range h.seen {
		if seen != host {
			t.Errorf("%s was spoken to", seen)
		}
	}
}

// safeBuffer is a bytes.Buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// claimsOf reads a token without checking it.
func claimsOf(t *testing.T, header string) (c struct {
	Audience string `json:"aud"`
	Tenant   string `json:"tid"`
	Expires  int64  `json:"exp"`
	How      string `json:"appidacr"`
}) {
	t.Helper()
	parts := strings.Split(strings.TrimPrefix(header, "Bearer "), ".")
	if len(parts) != 3 {
		t.Fatal("not a token")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func token(t *testing.T, s *entra.Source) string {
	t.Helper()
	header, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return header
}

// refusal gets the error that Token must give.
func refusal(t *testing.T, s *entra.Source, class entra.Class) *entra.Error {
	t.Helper()
	_, err := s.Token(t.Context())
	e, ok := errors.AsType[*entra.Error](err)
	if !ok || e.Class != class {
		t.Fatalf("want %s: %v", class, err)
	}
	return e
}

// together calls s from n goroutines and returns how many got no token.
func together(s *entra.Source, n int) (failed int) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards failed
	for range n {
		wg.Go(func() {
			if _, err := s.Token(context.Background()); err != nil {
				mu.Lock()
				failed++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

// mustNotWait fails when Token takes any time of the bubble's clock.
func mustNotWait(t *testing.T, s *entra.Source) string {
	t.Helper()
	began := time.Now()
	header := token(t, s)
	if waited := time.Since(began); waited > 0 {
		t.Fatalf("a call waited %v for a token", waited)
	}
	if left := time.Until(time.Unix(claimsOf(t, header).Expires, 0)); left <= 0 {
		t.Fatalf("a token that ended %v ago", -left)
	}
	return header
}

// whoAmI asks the first organization, and returns the status of its answer.
func (h *harness) whoAmI(t *testing.T, header string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.target(0).Resource+"/api/data/v9.2/WhoAmI", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", header)
	resp, err := h.hosts.next.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
