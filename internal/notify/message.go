package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	mostEvents = 100 // in one message
	mostLines  = 30
	mostNames  = 8   // in one line
	longest    = 400 // bytes of a finding or a next step
	alone      = 3   // so many tenants with one cause have a line each
)

// message is what is sent, in our own shape.
type message struct {
	Source string    `json:"source"`
	Host   string    `json:"host"`
	Portal string    `json:"portal,omitempty"`
	At     time.Time `json:"at"`
	Text   string    `json:"text"`   // all of it in words
	Events []Notice  `json:"events"` // the first mostEvents
	More   int       `json:"more,omitempty"`

	lines []string
}

func (n *Notifier) message(news []Notice, dropped int) message {
	news = slices.Clone(news)
	slices.SortStableFunc(news, func(a, b Notice) int {
		return cmp.Or(cmp.Compare(rank(a.Kind), rank(b.Kind)), strings.Compare(a.Code, b.Code), strings.Compare(a.Tenant, b.Tenant))
	})
	m := message{Source: "dynproxy", Host: n.Host, At: time.Now().UTC(), Events: news[:min(len(news), mostEvents)]}
	m.More = len(news) - len(m.Events) + dropped
	if n.Portal != nil {
		m.Portal = n.Portal()
	}
	m.lines = lines(news)
	if dropped > 0 {
		m.lines = append(m.lines, fmt.Sprintf("%d more that could not be kept.", dropped))
	}
	if over := len(m.lines) - mostLines; over > 0 {
		m.lines = append(m.lines[:mostLines], fmt.Sprintf("And %d more; the portal shows all.", over))
	}
	m.Text = strings.Join(m.lines, "\n")
	return m
}

// rank puts first what is worst.
func rank(k Kind) int {
	return slices.Index([]Kind{Broken, Flapping, Recovered, Ends, Consent, NewcomerHas}, k)
}

// lines says news in words. Tenants that have broken of one cause, or recovered,
// are one line when they are many.
func lines(news []Notice) []string {
	type group struct {
		kind Kind
		code string
	}
	var order []group
	groups := make(map[group][]Notice)
	for _, one := range news {
		g := group{one.Kind, one.Code}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], one)
	}
	var all []string
	for _, g := range order {
		if of := groups[g]; len(of) > alone && (g.kind == Broken || g.kind == Recovered || g.kind == NewcomerHas) {
			all = append(all, together(of))
			continue
		}
		for _, one := range groups[g] {
			all = append(all, one.line())
		}
	}
	return all
}

func together(of []Notice) string {
	var names []string
	for _, one := range of[:min(len(of), mostNames)] {
		names = append(names, cmp.Or(one.Tenant, one.TenantID))
	}
	who := strings.Join(names, ", ")
	if more := len(of) - len(names); more > 0 {
		who += fmt.Sprintf(" and %d more", more)
	}
	switch of[0].Kind {
	case Broken:
		return fmt.Sprintf("%d tenants are broken%s, such as %s: %s", len(of), coded(of[0].Code), of[0].Tenant, of[0].words()) + "\nThey are: " + who + "."
	case Recovered:
		return fmt.Sprintf("%d tenants have recovered: %s.", len(of), who)
	}
	return fmt.Sprintf("%d administrators say to have granted access: %s.", len(of), who)
}

func (n Notice) line() string {
	switch n.Kind {
	case Broken:
		return n.Tenant + " is broken" + coded(n.Code) + ": " + n.words()
	case Recovered:
		return n.Tenant + " has recovered."
	case Flapping:
		now := "is well now"
		if n.IsOut {
			now = "is broken now"
		}
		return fmt.Sprintf("%s broke %d times lately and %s%s: %s", n.Tenant, n.Count, now, coded(n.Code), n.words())
	case Ends:
		return endLine(n)
	case Consent:
		return "The administrator of " + n.Tenant + " has granted access, and a token proves it."
	}
	return "An administrator of tenant " + n.TenantID + " says to have granted access, from " + n.From + ". Add the tenant, and its first token proves it."
}

func endLine(n Notice) string {
	left := n.Ends.Sub(n.At)
	date := n.Ends.UTC().Format(time.DateOnly)
	switch days := int((left + day - 1) / day); {
	case left <= 0:
		return n.Subject + " has ended (" + date + "). Replace it now."
	case days == 1:
		return n.Subject + " ends within a day (" + date + "). Replace it."
	default:
		return fmt.Sprintf("%s ends in %d days (%s). Replace it.", n.Subject, days, date)
	}
}

func coded(code string) string {
	if code == "" {
		return ""
	}
	return " (" + code + ")"
}

// words are what was found and what to do.
func (n Notice) words() string {
	words := cut(n.Finding)
	if words == "" {
		words = "the portal says more"
	}
	words = strings.TrimSuffix(words, ".") + "."
	if n.Next != "" {
		words += " Next: " + cut(n.Next)
	}
	return words
}

func cut(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "..."
}

// shaped is the message as the receiver at host reads it.
func (m message) shaped(host string) []byte {
	heading := "dynproxy on " + m.Host
	var shape any = m
	switch host = strings.ToLower(host); {
	case host == "hooks.slack.com" || host == "hooks.slack-gov.com":
		text := "*" + heading + "*\n" + m.Text
		if m.Portal != "" {
			text += "\n" + m.Portal
		}
		shape = map[string]string{"text": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)}
	case isTeams(host):
		shape = m.card(heading)
	}
	text, _ := json.Marshal(shape) // of texts and times, which cannot fail
	return text
}

// teamsHosts are those of Teams' incoming webhooks, and of Power Automate, which
// has taken their place.
var teamsHosts = []string{
	"webhook.office.com", "outlook.office.com", "outlook.office365.com", "webhook.office365.us",
	"logic.azure.com", "logic.azure.us", "logic.azure.cn", "api.powerplatform.com", "api.powerplatform.us", "powerautomate.com",
}

func isTeams(host string) bool {
	return slices.ContainsFunc(teamsHosts, func(known string) bool { return host == known || strings.HasSuffix(host, "."+known) })
}

// card is the message as an adaptive card.
func (m message) card(heading string) any {
	block := func(text, weight string) map[string]any {
		// What is meant for the eye must not be read as Markdown.
		text = strings.NewReplacer("\\", "\\\\", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "`", "\\`", "\n", "\n\n").Replace(text)
		return map[string]any{"type": "TextBlock", "text": text, "wrap": true, "weight": weight}
	}
	body := []any{block(heading, "Bolder")}
	for _, line := range m.lines {
		body = append(body, block(line, "Default"))
	}
	card := map[string]any{"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": body}
	if m.Portal != "" {
		card["actions"] = []any{map[string]any{"type": "Action.OpenUrl", "title": "Portal", "url": m.Portal}}
	}
	return map[string]any{"type": "message", "attachments": []any{map[string]any{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}}}
}
