package emulator_test

import (
	"io"
	"net/http"
	"testing"

	"dynproxy/internal/emulator"
)

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := emulator.New(seed()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWhoAmI is a call with a token, over TLS and loopback sockets.
func BenchmarkWhoAmI(b *testing.B) {
	h := open(b, seed())
	if err := h.Start("127.0.0.1:0"); err != nil {
		b.Fatal(err)
	}
	h.client.Transport = trusting(b, h.CA())
	tok := h.token(b, "https://"+h.LoginHost(), tenantID, h.OrgURL("contoso"))
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r, err := http.NewRequest("GET", h.OrgURL("contoso")+"/api/data/v9.2/WhoAmI", nil)
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+tok)
			resp, err := h.client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
				b.Errorf("%d, %v", resp.StatusCode, err)
			}
			resp.Body.Close()
		}
	})
}
