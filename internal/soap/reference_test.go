package soap

import (
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// node is an element of a tree that another parser built: the reference.
type node struct {
	name  xml.Name
	attrs []xml.Attr
	kids  []*node
	text  string
}

func tree(text string) (*node, error) {
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
	top := new(node)
	open := []*node{top}
	for {
		token, err := d.Token()
		if err == io.EOF && len(open) == 1 {
			return top, nil
		}
		if err != nil {
			return nil, err
		}
		last := open[len(open)-1]
		switch t := token.(type) {
		case xml.StartElement:
			n := &node{name: t.Name, attrs: slices.Clone(t.Attr)}
			last.kids = append(last.kids, n)
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			last.text += string(t)
		}
	}
}

func (n *node) walk(visit func(n *node, above []*node)) { n.walkBelow(nil, visit) }

func (n *node) walkBelow(above []*node, visit func(*node, []*node)) {
	visit(n, above)
	for _, kid := range n.kids {
		kid.walkBelow(append(above, n), visit)
	}
}

// seen is what the reference finds in a tree that Judge takes.
type seen struct {
	operation   string
	names       []string // RequestNames below Execute
	impersonate bool
	bypass      bool
}

func look(top *node) (seen, error) {
	var s seen
	if len(top.kids) != 1 || strings.TrimSpace(top.text) != "" {
		return s, fmt.Errorf("%d roots, text %q", len(top.kids), top.text)
	}
	envelope := top.kids[0]
	for i, part := range envelope.kids {
		switch {
		case part.name.Space != envelope.name.Space:
			return s, fmt.Errorf("a child of the envelope in %q", part.name.Space)
		case part.name.Local == "Header" && i == 0:
			part.walk(func(n *node, above []*node) {
				name := strings.ToLower(n.name.Local)
				if len(above) > 0 && (strings.HasPrefix(name, "caller") || strings.Contains(name, "callerid") || strings.Contains(name, "impersonat")) &&
					strings.Trim(strings.TrimSpace(n.text), "{}-0") != "" {
					s.impersonate = true
				}
			})
		case part.name.Local == "Body" && i == len(envelope.kids)-1:
			if len(part.kids) != 1 {
				return s, fmt.Errorf("%d operations", len(part.kids))
			}
			s.operation = part.kids[0].name.Local
			part.walk(func(n *node, above []*node) {
				switch {
				case n.name.Local == "RequestName" && len(above) > 1:
					if len(n.kids) > 0 {
						s.names = append(s.names, "with elements inside")
					}
					s.names = append(s.names, strings.TrimSpace(n.text))
				case strings.EqualFold(n.name.Local, "key") && len(above) > 2 && above[len(above)-2].name.Local == "Parameters":
					key := strings.ToLower(strings.TrimSpace(n.text))
					if strings.HasPrefix(key, "bypass") || strings.HasPrefix(key, "suppress") && key != "suppressduplicatedetection" {
						s.bypass = true
					}
				}
			})
		default:
			return s, fmt.Errorf("%s as child %d", part.name.Local, i)
		}
	}
	return s, nil
}

// agrees holds Judge to the reference: what is taken is seen in the same way,
// and nothing that the reference calls a write passes as a read.
func agrees(t *testing.T, text string) {
	got, err := Judge(nil, strings.NewReader(text))
	if err != nil {
		return
	}
	if strings.Contains(text, "\x00") {
		return // UTF-16, which the reference does not read
	}
	top, err := tree(text)
	if err != nil {
		t.Fatalf("taken, but the reference says %v:\n%s", err, text)
	}
	want, err := look(top)
	if err != nil {
		t.Fatalf("taken, but the reference sees %v:\n%s", err, text)
	}
	if got.Operation != want.operation || (got.Impersonates != "") != want.impersonate || (got.Bypasses != "") != want.bypass {
		t.Fatalf("%+v; the reference sees %+v:\n%s", got, want, text)
	}
	if got.Write != "" {
		return
	}
	if want.operation != "Execute" && want.operation != "Retrieve" && want.operation != "RetrieveMultiple" || want.operation == "Execute" && len(want.names) == 0 {
		t.Fatalf("%+v passes as a read:\n%s", want, text)
	}
	for _, name := range want.names {
		if want.operation == "Execute" && !reads(messages, name) && !strings.HasPrefix(name, "Retrieve") && name != "ExecuteMultiple" && name != "ExecuteTransaction" {
			t.Fatalf("%s passes as a read:\n%s", name, text)
		}
	}
}

func FuzzJudgeAgainstATree(f *testing.F) {
	for _, seed := range []string{
		envelope("", execute(named("WhoAmI"))), envelope("<CallerId>7</CallerId>", execute(multiple("ExecuteMultiple", "Retrieve", "Del<!-- -->ete"))),
		envelope("", execute(keyed("Bypass<![CDATA[Custom]]>PluginExecution"))), "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?>" + envelope("", "<Retrieve/>"),
		`<a:Envelope xmlns:a="http://www.w3.org/2003/05/soap-envelope"><a:Body><Execute><request xmlns:z="http://schemas.microsoft.com/2003/10/Serialization/" z:Id="i1"><RequestName>&#87;hoAmI</RequestName></request></Execute></a:Body></a:Envelope>`,
	} {
		f.Add(seed)
	}
	f.Fuzz(agrees)
}

// TestDisguisesChangeNothing writes known messages in a thousand hands: any
// prefixes, comments, CDATA, references, white space, quotes, depth. What they
// do is always seen.
func TestDisguisesChangeNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 4))
	for range 4000 {
		w := &hand{r: r}
		names := []string{"WhoAmI", "RetrieveMultiple", "RetrieveVersion"}
		want := Envelope{Operation: "Execute", Message: "WhoAmI"}
		inner := 0
		if r.IntN(2) == 0 {
			inner = 1 + r.IntN(4)
			want.Message, want.Requests = []string{"ExecuteMultiple", "ExecuteTransaction"}[r.IntN(2)], inner
		}
		said := make([]string, inner)
		for i := range said {
			said[i] = names[r.IntN(len(names))]
		}
		if r.IntN(2) == 0 {
			want.Write = []string{"Delete", "Create", "SetState", "new_Custom"}[r.IntN(4)]
			if inner > 0 {
				said[r.IntN(inner)] = want.Write
			} else {
				want.Message = want.Write
			}
			if want.Write == "Delete" {
				want.Deletes = "Delete"
			}
		}
		key := ""
		if r.IntN(3) == 0 {
			key, want.Bypasses = "BypassCustomPluginExecution", "BypassCustomPluginExecution"
		}
		caller := "00000000-0000-0000-0000-000000000000"
		if r.IntN(3) == 0 {
			caller, want.Impersonates = "7bd2a5f0-1111-4000-8000-000000000001", "CallerId"
		}
		text := w.envelope(caller, want.Message, said, key)
		got, err := Judge(nil, strings.NewReader(text))
		if err != nil || got != want {
			t.Fatalf("%+v, %v; want %+v:\n%s", got, err, want, text)
		}
		agrees(t, text)
	}
}

// hand writes XML as no two people do.
type hand struct {
	r *rand.Rand
	n int
}

func (h *hand) envelope(caller, message string, inner []string, key string) string {
	space := []string{space11, space12}[h.r.IntN(2)]
	head := ""
	if h.r.IntN(3) > 0 || strings.Trim(caller, "0-") != "" {
		head = h.element(space, "Header", h.element("urn:any", "CallerId", h.word(caller)))
	}
	params := ""
	if key != "" {
		params = h.pair(key, h.text("true"))
	}
	if len(inner) > 0 {
		var all string
		for _, one := range inner {
			all += h.element("a", "OrganizationRequest", h.element("a", "Parameters", "")+h.element("a", "RequestName", h.word(one)))
		}
		params += h.pair("Requests", all)
	}
	request := h.element("b", "request", h.element("a", "Parameters", params)+h.element("a", "RequestName", h.word(message)))
	body := h.element(space, "Body", h.element("c", "Execute", request))
	return h.space() + h.element(space, "Envelope", h.space()+head+h.space()+body) + h.space()
}

func (h *hand) pair(key, value string) string {
	return h.element("a", "KeyValuePairOfstringanyType", h.element("g", "key", h.word(key))+h.element("g", "value", value))
}

func (h *hand) element(space, local, content string) string {
	h.n++
	raw, declare := local, "xmlns"
	if h.r.IntN(3) > 0 {
		prefix := fmt.Sprintf("p%d", h.r.IntN(4))
		raw, declare = prefix+":"+local, "xmlns:"+prefix
	}
	quote := []string{`"`, `'`}[h.r.IntN(2)]
	return h.space() + "<" + raw + h.blank(true) + declare + h.blank(false) + "=" + h.blank(false) + quote + space + quote + h.blank(false) + ">" +
		content + "</" + raw + h.blank(false) + ">"
}

func (h *hand) blank(must bool) string {
	if must || h.r.IntN(4) == 0 {
		return []string{" ", "\n", "\t ", "\r\n"}[h.r.IntN(4)]
	}
	return ""
}

func (h *hand) space() string {
	return []string{"", "", " ", "\n  ", "<!-- <RequestName>Delete</RequestName> -->"}[h.r.IntN(5)]
}

func (h *hand) word(s string) string { return h.blank(false) + h.text(s) + h.blank(false) }

// text writes each letter as itself, as a reference, in CDATA, or behind a
// comment.
func (h *hand) text(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch h.r.IntN(12) {
		case 0:
			fmt.Fprintf(&b, "&#%d;", c)
		case 1:
			fmt.Fprintf(&b, "&#x%X;", c)
		case 2:
			fmt.Fprintf(&b, "<![CDATA[%c]]>", c)
		case 3:
			fmt.Fprintf(&b, "<!-- ]]> -->%c", c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func BenchmarkJudge(b *testing.B) {
	text := envelope("", `<Create><entity><v>`+strings.Repeat("QUJDREVGRw==", 1<<18)+`</v></entity></Create>`)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Judge(nil, strings.NewReader(text))
	}
}
