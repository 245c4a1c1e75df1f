package kerberos

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The keytab of a password that was changed is in use within a second, one that
// is half copied or wrong never.
func TestTheKeytabIsReadAgain(t *testing.T) {
	content := func(service, password string) []byte {
		text, err := keysOf(t, service, password).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	path := filepath.Join(t.TempDir(), "keytab")
	put := func(text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(content(service, "pw"))
	synctest.Test(t, func(t *testing.T) {
		a, err := Open(path, service+"@"+realm)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told := make(chan error, 10)
		go a.Watch(ctx, func(err error) { told <- err })
		accepts := func(password string) bool {
			k := valid()
			k.password = password
			_, _, err := a.Accept(k.header(t))
			return err == nil
		}
		next := content(service, "pw2")
		time.Sleep(100 * time.Millisecond)                               // no look falls into a write
		for _, half := range []int{0, 7, len(next) / 2, len(next) - 1} { // a copy under way
			put(next[:half])
			time.Sleep(200 * time.Millisecond)
		}
		put(next)
		time.Sleep(time.Second)
		synctest.Wait()
		if !accepts("pw2") || accepts("pw") || len(told) != 1 || <-told != nil {
			t.Error("the new keytab is not in use")
		}
		for what, wrong := range map[string][]byte{"key of HTTP/proxy": content("HTTP/other.corp.test", "pw2"), "empty": nil, "cannot be read": []byte("no keytab at all")} {
			put(wrong)
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(told) != 1 {
				t.Fatalf("%s: told %d times", what, len(told))
			}
			if err := <-told; err == nil || !strings.Contains(err.Error(), what) && !strings.Contains(err.Error(), "whole") || !accepts("pw2") {
				t.Errorf("%s: %v", what, err)
			}
		}
		os.Remove(path)
		time.Sleep(time.Minute)
		if err := <-told; err == nil || !accepts("pw2") {
			t.Errorf("removed: %v", err)
		}
		put(next)
		time.Sleep(time.Second)
		if err := <-told; err != nil || !accepts("pw2") {
			t.Errorf("back again: %v", err)
		}
	})
}
