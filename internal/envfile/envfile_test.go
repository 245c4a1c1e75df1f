package envfile

import (
	"maps"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/secret"
)

func TestParse(t *testing.T) {
	text := "\xef\xbb\xbf# a comment\r\nORG_URL = https://contoso.crm.dynamics.com \r\n\r\n" +
		"export CLIENT_SECRET=a#b$c=d\\e~\nQUOTED=\" kept \"\nSINGLE='x'\nEMPTY=\nODD=\"half"
	got, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"ORG_URL": "https://contoso.crm.dynamics.com", "CLIENT_SECRET": `a#b$c=d\e~`,
		"QUOTED": " kept ", "SINGLE": "x", "EMPTY": "", "ODD": `"half`,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no equals sign":      "ORG_URL https://s3cret",
		"no name":             "=s3cret",
		"a name with a space": "ORG URL=s3cret",
		"twice":               "A=s3cret\nA=s3cret2",
		"unmarked UTF-16":     "A\x00=\x00s\x00",
		"NUL":                 "A=s3cret\x00s3cret",
		"too large":           "A=s3cret" + strings.Repeat("x", maxSize),
	} {
		_, err := Parse([]byte(text))
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error tells the value: %v", name, err)
		}
	}
}

func TestParseTellsEveryLineThatIsWrong(t *testing.T) {
	_, err := Parse([]byte("A=1\rB\rA=2\r\nC D=3"))
	if want := "line 2 is not NAME=value\nline 3 sets A a second time\nline 4 is not NAME=value"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("A=1\nB='2'\n#c\nexport D=\"x\""))
	f.Add([]byte("\xef\xbb\xbfA=\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		values, err := Parse(text)
		if err != nil && values != nil {
			t.Error("values beside an error")
		}
		for name, value := range values {
			if name == "" || strings.ContainsAny(value, "\n\x00") {
				t.Errorf("%q=%q", name, value)
			}
		}
	})
}

type Inner struct {
	Wait time.Duration `env:"WAIT" envDefault:"3s"`
}

type sample struct {
	Inner
	Count int         `env:"COUNT"`
	Ratio float64     `env:"RATIO"`
	On    bool        `env:"ON"`
	Key   secret.Text `env:"KEY"`
}

func TestDecodeNamesEveryFaultAndNoValue(t *testing.T) {
	got, faults := Decode[sample](map[string]string{
		"WAIT": "v4lue", "COUNT": "v4lue", "RATIO": "v4lue", "ON": "v4lue", "KEY": "v4lue",
	}, "P_")
	if got.Wait != 3*time.Second || got.Key.Reveal() != "v4lue" {
		t.Errorf("what is wrong has not its default: %+v", got)
	}
	if len(faults) != 4 {
		t.Errorf("%d faults: %v", len(faults), faults)
	}
	text := faults.Error()
	for _, name := range []string{"P_WAIT must be a duration", "P_COUNT must be a whole number", "P_RATIO must be a number", "P_ON must be true or false"} {
		if !strings.Contains(text, name) {
			t.Errorf("%q is not in\n%s", name, text)
		}
	}
	if strings.Contains(text, "v4lue") {
		t.Errorf("a value is told:\n%s", text)
	}
}

func TestDecode(t *testing.T) {
	got, faults := Decode[sample](map[string]string{"COUNT": "7", "KEY": "a,b=$c", "ON": "", "RATIO": ""}, "")
	if faults != nil {
		t.Fatal(faults)
	}
	if got.Wait != 3*time.Second || got.Count != 7 || got.Key.Reveal() != "a,b=$c" {
		t.Errorf("got %+v", got)
	}
	if unknown := Unknown[sample](map[string]string{"COUNT": "1", "CUONT": "1"}); len(unknown) != 1 || unknown[0] != "CUONT" {
		t.Errorf("unknown %q", unknown)
	}
}
