package portal

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/status"
	"dynproxy/internal/trend"
)

var numberIn = regexp.MustCompile(`-?\d+\.\d+`)

// Whatever the figures are, what is drawn lies within the frame.
func TestChartsStayWithinTheirFrame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		span := trend.Spans()[random.IntN(3)]
		points := make([]trend.Point, span.Long/span.Step)
		for i := range points {
			p := trend.Point{At: time.Unix(int64(i)*int64(span.Step/time.Second), 0)}
			if random.IntN(3) > 0 {
				p.Calls = random.IntN(1 << random.IntN(24))
				p.Errors = random.IntN(p.Calls + 1)
				p.Refused, p.Used, p.Waiting = random.IntN(2), random.Float64()*9000, random.IntN(9)
				p.Upstream.P95 = time.Duration(random.Int64N(int64(time.Hour)))
				p.Upstream.P50 = p.Upstream.P95 / 3
			}
			points[i] = p
		}
		for _, c := range charts(points, span, 6000) {
			for _, part := range c.Parts {
				x, y, w, h := num(part.X), num(part.Y), num(part.Width), num(part.Height)
				if x < 0 || x+w > wholeWidth+0.2 || y < -0.2 || h <= 0 || y+h > chartHeight+0.2 {
					t.Fatalf("%s: %+v", c.Title, part)
				}
			}
			for _, s := range c.Strokes {
				for _, n := range numberIn.FindAllString(s.Path, -1) {
					if f := num(n); f < 0 || f > wholeWidth {
						t.Fatalf("%s: %s", c.Title, s.Path)
					}
				}
			}
			if len(c.Marks) != 5 || c.Summary == "" {
				t.Fatalf("%+v", c)
			}
		}
	}
}

func num(text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func TestFiguresReadWell(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.5: "0.5", 999: "999", 6000: "6,000", 1234567: "1,234,567", 105.4: "105"} {
		if got := figure(n); got != want {
			t.Errorf("%v is %q", n, got)
		}
	}
	for n, want := range map[float64]float64{0: 1, 1: 1, 3: 4, 11: 20, 601: 800, 6000: 6000, 9999: 10000} {
		if got := roundUp(n); got != want {
			t.Errorf("%v is rounded up to %v", n, got)
		}
	}
}

// Parts of callers add up to a hundred, whoever they are.
func TestPartsAddUp(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		callers := make([]status.Share, 1+random.IntN(9))
		whole := uint64(0)
		for i := range callers {
			callers[i].Used = random.Uint64N(50)
			whole += callers[i].Used
		}
		sum := 0
		for i, p := range parts(callers) {
			sum += p
			if exact := float64(callers[i].Used) * 100 / max(1, float64(whole)); float64(p) < exact-1 || float64(p) > exact+1 {
				t.Fatalf("%d of %d is %d %%", callers[i].Used, whole, p)
			}
		}
		if whole > 0 && sum != 100 {
			t.Fatalf("%+v: %d %%", callers, sum)
		}
	}
}

func TestARushIsForetold(t *testing.T) {
	calls := make([]int, 60)
	for i := range calls {
		calls[i] = 1500 // the last minute is not over
	}
	if words := rush(calls, 5*time.Minute, 6000); !strings.Contains(words, "7,500 of 6,000") || !strings.Contains(words, "refused") {
		t.Error(words)
	}
	if words := rush(calls, 5*time.Minute, 9000); !strings.Contains(words, "7,500 of 9,000") || strings.Contains(words, "refused") {
		t.Error(words)
	}
	if words := rush(calls, 5*time.Minute, 60_000) + rush(nil, 5*time.Minute, 10); words != "" {
		t.Error(words)
	}
}
