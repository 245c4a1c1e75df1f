package envfile

import "testing"

func TestBytesAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "512": 512, "512B": 512, "1k": 1024, "64KB": 64 << 10, "100MB": 100 << 20, "100 mb": 100 << 20, "1.5MiB": 3 << 19, "4GB": 4 << 30, "2T": 2 << 40,
	} {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "GB", "-1", "1e9", "4XB", "NaN", "inf", "1..2", "9999999TB", "4 GB more"} {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}
