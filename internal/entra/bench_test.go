package entra_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/entra"
)

const many = 10_000

// warm returns many sources that hold tokens of the size of Dataverse's.
func warm(tb testing.TB) (*entra.Cache, []*entra.Source) {
	cache := &entra.Cache{Mint: func(_ context.Context, t entra.Target, _ string) (entra.Token, error) {
		return entra.Token{Header: "Bearer " + t.TenantID + strings.Repeat("x", 1500), Expires: time.Now().Add(time.Hour)}, nil
	}}
	tb.Cleanup(cache.Close)
	sources := make([]*entra.Source, many)
	for i := range sources {
		sources[i] = cache.Source(entra.Target{
			Login: login, TenantID: fmt.Sprintf("5f0d8f5e-7c53-4d2c-9d0b-%012d", i), ClientID: clientID,
			Resource: fmt.Sprintf("https://org%d.crm.dynamics.com", i),
		})
		if _, err := sources[i].Token(context.Background()); err != nil {
			tb.Fatal(err)
		}
	}
	return cache, sources
}

func BenchmarkWarmToken(b *testing.B) {
	_, sources := warm(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		sources[i%many].Token(context.Background())
		i += 7919
	}
}

func BenchmarkWarmTokenParallel(b *testing.B) {
	_, sources := warm(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i += 7919 {
			sources[i%many].Token(context.Background())
		}
	})
}

func TestWarmTokenDoesNotAllocate(t *testing.T) {
	_, sources := warm(t)
	i := 0
	if n := testing.AllocsPerRun(many, func() {
		sources[i%many].Token(context.Background())
		i++
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func TestMemoryOfATenant(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cache, sources := warm(t)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / many
	t.Logf("%d bytes a tenant, its token of 1.5 KB included", each)
	if each > 8<<10 {
		t.Errorf("%d bytes a tenant", each)
	}
	runtime.KeepAlive(cache)
	runtime.KeepAlive(sources)
}
