package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"dynproxy/internal/cluster"
	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/emulator"
)

// three starts proxies that are one, and waits until they know.
func three(t *testing.T, settings map[string]string, server *redistest.Server) []*running {
	t.Helper()
	var all []*running
	for range 3 {
		all = append(all, start(t, withRedis(settings, server.URL())))
	}
	for _, r := range all {
		r.eventually("three members", func() bool {
			report := r.together()
			return len(report.Members) == 3 && report.Redis.State == cluster.Shared
		})
	}
	return all
}

// callAll has so many callers call each proxy at the same time, and wants
// success for all.
func callAll(t *testing.T, proxies []*running, callers int, path string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for _, r := range proxies {
		for range callers {
			all.Go(func() {
				resp, err := client.Get(r.calls + path)
				if err != nil {
					t.Error(err)
					return
				}
				text, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%d %s", resp.StatusCode, text)
				}
			})
		}
	}
	all.Wait()
}

const whoAmI = "/contoso/api/data/v9.2/WhoAmI"

// An organization refuses the token that all proxies have, and Entra ID is asked
// once more. Without Redis each proxy has its own, and no call fails.
func TestProxiesShareOneToken(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t)
	proxies := three(t, p.settings("contoso"), server)
	minted := func(want int, why string) {
		t.Helper()
		for _, r := range proxies {
			if strings.Contains(r.log.String(), "Redis does not answer in time") {
				t.Logf("this machine was so busy that a proxy was alone: %s", why)
				return
			}
		}
		if n := p.Entra().TokenRequests(emulator.TokenRequest{}); n != want {
			t.Errorf("%d token requests %s", n, why)
		}
	}
	callAll(t, proxies, 15, whoAmI)
	minted(1, "for all")
	p.Organization("contoso").RevokeTokens()
	callAll(t, proxies, 15, whoAmI)
	minted(2, "with one for the refused token")
	server.Kill()
	p.Organization("contoso").RevokeTokens()
	callAll(t, proxies, 15, whoAmI)
	minted(5, "with one of each proxy")
}

// A proxy with another credential cannot read what the others share, and gets
// its own.
func TestAnotherCredentialSharesNoToken(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t)
	p.Entra().SetSecret(demoClientID, "another-secret-of-the-app", false)
	settings := withRedis(p.settings("contoso"), server.URL())
	one := start(t, settings)
	settings[prefix+"CLIENT_SECRET"] = "another-secret-of-the-app"
	other := start(t, settings)
	callAll(t, []*running{one}, 1, whoAmI)
	callAll(t, []*running{other}, 1, whoAmI)
	if n := p.Entra().TokenRequests(emulator.TokenRequest{}); n != 2 {
		t.Errorf("%d token requests", n)
	}
	// In a rotation both are known, and whichever sealed it can be read.
	settings[prefix+"CLIENT_SECRET_NEXT"] = demoSecret
	both := start(t, settings)
	callAll(t, []*running{both}, 1, whoAmI)
	if n := p.Entra().TokenRequests(emulator.TokenRequest{}); n != 2 {
		t.Errorf("%d token requests, with both secrets known", n)
	}
}

// Nothing in Redis tells of a token or a secret, and all of it ends by itself.
func TestNothingInRedisCanBeRead(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t)
	proxies := three(t, p.settings("contoso"), server)
	callAll(t, proxies, 5, whoAmI)
	keys := server.Dump()
	token := func(k redistest.Key) bool { return strings.HasPrefix(k.Name, "dynproxy:{token:") }
	for range 20 { // on a busy machine a proxy may be alone for a while, and keeps its token to itself
		if slices.ContainsFunc(keys, token) {
			break
		}
		callAll(t, []*running{start(t, withRedis(p.settings("contoso"), server.URL()))}, 1, whoAmI)
		keys = server.Dump()
	}
	for _, k := range keys {
		if k.Life < 0 {
			t.Errorf("%s never ends", k.Name)
		}
		for what, text := range map[string]string{"a token": "eyJ", "a header": "Bearer", "the secret": demoSecret, "a tenant": "contoso"} {
			for _, form := range hiding(text) {
				if strings.Contains(k.Name+k.Bytes, form) {
					t.Errorf("%s is in %s", what, k.Name)
				}
			}
		}
	}
	if !slices.ContainsFunc(keys, token) {
		t.Errorf("no token was looked at among %d keys", len(keys))
	}
}
