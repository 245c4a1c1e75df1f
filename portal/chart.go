package portal

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"dynproxy/internal/trend"
)

// chart is figures over time, drawn 1000 wide and 100 high: the page stretches
// it, and writes its axes beside it.
type chart struct {
	Title   string
	Summary string // the same in words
	Top     string // the figure at the upper edge; 0 is at the lower
	Half    string
	Parts   []stretch // bars
	Strokes []stroke
	Marks   []string // along its lower edge, evenly
	Legend  []legend
}

// stroke is a line of dashes, one a step in which there was something.
type stroke struct{ Class, Path string }

type legend struct{ Class, Says string }

const chartHeight = 100.0

// charts draws how calls went in a span, and how far the budget was spent.
// limit is the budget's, 0 for none.
func charts(points []trend.Point, span trend.Span, limit float64) []chart {
	all := []chart{callsChart(points), timesChart(points)}
	if limit > 0 {
		all = append(all, budgetChart(points, limit))
	}
	form := "15:04"
	if span.Long > 24*time.Hour {
		form = "Jan 2"
	}
	for i := range all {
		all[i].Marks = marks(points, span, form)
	}
	return all
}

// marks are the times at quarters of the span, in the proxy's zone.
func marks(points []trend.Point, span trend.Span, form string) []string {
	var all []string
	for i := range 5 {
		at := points[0].At.Add(time.Duration(i) * span.Long / 4)
		all = append(all, at.Local().Format(form))
	}
	return all
}

func callsChart(points []trend.Point) chart {
	sum, errors, most := 0, 0, 0
	for _, p := range points {
		sum, errors, most = sum+p.Calls, errors+p.Errors, max(most, p.Calls)
	}
	top := roundUp(float64(most))
	c := chart{Title: "Calls", Top: figure(top), Half: figure(top / 2), Legend: []legend{{"ready", "answered"}, {"broken", "failed"}}}
	c.Summary = fmt.Sprintf("%s, %s failed%s", plural(sum, "call"), figure(float64(errors)), share(errors, sum))
	for i, p := range points {
		says := fmt.Sprintf("%s: %s, %d failed", p.At.Local().Format("Jan 2 15:04"), plural(p.Calls, "call"), p.Errors)
		good := float64(p.Calls - p.Errors)
		c.bar("ready", says, i, len(points), 0, good/top)
		c.bar("broken", says, i, len(points), good/top, float64(p.Errors)/top)
	}
	return c
}

// bar draws a bar of the i-th of n steps, from and high as parts of the whole
// height. One that is not empty can be seen.
func (c *chart) bar(class, says string, i, n int, from, high float64) {
	if high <= 0 {
		return
	}
	wide := wholeWidth / float64(n)
	tall := max(1, chartHeight*high)
	c.Parts = append(c.Parts, stretch{
		Class: class, Says: says, X: decimal(float64(i) * wide), Width: decimal(wide * 0.86),
		Y: decimal(max(0, chartHeight*(1-from)-tall)), Height: decimal(tall),
	})
}

// parts of a call's time that are drawn.
var timeParts = []struct {
	class, says string
	of          func(trend.Point) trend.Times
}{
	{"upstream", "the organization", func(p trend.Point) trend.Times { return p.Upstream }},
	{"queue", "waiting for the budget", func(p trend.Point) trend.Times { return p.Queue }},
	{"own", "the proxy itself", func(p trend.Point) trend.Times { return p.Own }},
}

func timesChart(points []trend.Point) chart {
	var most time.Duration
	for _, p := range points {
		for _, part := range timeParts {
			most = max(most, part.of(p).P95)
		}
	}
	top := roundUp(float64(most) / float64(time.Millisecond))
	c := chart{Title: "Time of a call, in ms", Top: figure(top), Half: figure(top / 2)}
	var words []string
	for _, part := range timeParts {
		half, most := strokeOf(points, top, func(p trend.Point) time.Duration { return part.of(p).P50 }), strokeOf(points, top, func(p trend.Point) time.Duration { return part.of(p).P95 })
		c.Strokes = append(c.Strokes, stroke{part.class + " p95", most}, stroke{part.class, half})
		c.Legend = append(c.Legend, legend{part.class, part.says})
		if whole := overall(points, part.of); whole.P95 > 0 {
			words = append(words, fmt.Sprintf("%s %s and %s", part.says, milliseconds(whole.P50), milliseconds(whole.P95)))
		}
	}
	c.Legend = append(c.Legend, legend{"p95", "thin: 95 of 100 calls took no longer; thick: half of them"})
	c.Summary = "no calls"
	if len(words) > 0 {
		c.Summary = "half of all calls, and 95 of 100, took no longer than: " + strings.Join(words, "; ")
	}
	return c
}

// overall is what points come to together, weighed by their calls.
func overall(points []trend.Point, of func(trend.Point) trend.Times) trend.Times {
	var p50, p95, calls float64
	for _, p := range points {
		t, n := of(p), float64(p.Calls)
		p50, p95, calls = p50+n*float64(t.P50), p95+n*float64(t.P95), calls+n
	}
	if calls == 0 {
		return trend.Times{}
	}
	return trend.Times{P50: time.Duration(p50 / calls), P95: time.Duration(p95 / calls)}
}

// strokeOf draws a dash for each step that had calls, top being the upper edge
// in milliseconds.
func strokeOf(points []trend.Point, top float64, of func(trend.Point) time.Duration) string {
	var path strings.Builder
	wide := wholeWidth / float64(len(points))
	for i, p := range points {
		if p.Calls == 0 {
			continue
		}
		y := chartHeight * (1 - float64(of(p))/float64(time.Millisecond)/top)
		fmt.Fprintf(&path, "M%s %sh%s", decimal(float64(i)*wide), decimal(min(chartHeight-1, max(1, y))), decimal(wide))
	}
	return path.String()
}

func budgetChart(points []trend.Point, limit float64) chart {
	used, waiting, refused := 0.0, 0, 0
	for _, p := range points {
		used, waiting, refused = max(used, p.Used), max(waiting, p.Waiting), refused+p.Refused
	}
	top := roundUp(max(limit, used))
	c := chart{Title: "Budget: requests in its window, at most", Top: figure(top), Half: figure(top / 2),
		Legend: []legend{{"used", "used"}, {"broken", "calls were refused"}, {"limit", "the limit, " + figure(limit)}}}
	c.Summary = fmt.Sprintf("at most %s of %s used; at most %s at a time; %s refused", figure(used), figure(limit), plural(waiting, "call")+" waiting", figure(float64(refused)))
	for i, p := range points {
		class := "used"
		says := fmt.Sprintf("%s: %s used, %d waiting, %d refused", p.At.Local().Format("Jan 2 15:04"), figure(p.Used), p.Waiting, p.Refused)
		if p.Refused > 0 {
			class = "broken"
		}
		c.bar(class, says, i, len(points), 0, max(p.Used/top, min(1, float64(p.Refused))/chartHeight))
	}
	c.Strokes = []stroke{{"limit", "M0 " + decimal(chartHeight*(1-limit/top)+0.5) + "h1000"}}
	return c
}

// roundUp is the next larger number that reads well as the end of an axis.
func roundUp(n float64) float64 {
	if n <= 1 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(n)))
	for _, m := range []float64{1, 2, 4, 6, 8, 10} {
		if m*power >= n {
			return m * power
		}
	}
	return 10 * power
}

// figure writes a number as people read it: 6,000 or 0.5.
func figure(n float64) string {
	if n != math.Trunc(n) && n < 100 {
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(math.Round(n), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// anyFigure is figure for templates.
func anyFigure(n any) (string, error) {
	switch n := n.(type) {
	case float64:
		return figure(n), nil
	case int:
		return figure(float64(n)), nil
	case uint64:
		return figure(float64(n)), nil
	case int64:
		return figure(float64(n)), nil
	}
	return "", fmt.Errorf("%T is no number", n)
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	first, rest, _ := strings.Cut(one, " ")
	return strings.TrimSpace(figure(float64(n)) + " " + first + "s " + rest)
}

// share is part of whole in words, "" where there is nothing.
func share(part, whole int) string {
	if part == 0 || whole == 0 {
		return ""
	}
	percent := 100 * float64(part) / float64(whole)
	if percent < 0.1 {
		return " (under 0.1 %)"
	}
	return " (" + strconv.FormatFloat(percent, 'f', 1, 64) + " %)"
}

func milliseconds(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case ms >= 10_000:
		return figure(math.Round(ms/1000)) + " s"
	case ms >= 10:
		return figure(math.Round(ms)) + " ms"
	default:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	}
}

func decimal(n float64) string { return strconv.FormatFloat(n, 'f', 1, 64) }

// rush says what the last minutes would come to in a whole window of the budget,
// "" where that is well within the limit.
func rush(calls []int, window time.Duration, limit float64) string {
	const looked = 3 // minutes that are over
	if limit <= 0 || window <= 0 || len(calls) <= looked {
		return ""
	}
	recent := 0
	for _, n := range calls[len(calls)-1-looked : len(calls)-1] {
		recent += n
	}
	in := float64(recent) / looked * window.Minutes()
	if in < 0.8*limit {
		return ""
	}
	words := fmt.Sprintf("At the rate of the last %d minutes a window of %s takes %s of %s requests", looked, span(window), figure(in), figure(limit))
	if in > limit {
		return words + ": calls wait, and some will be refused."
	}
	return words + "."
}
