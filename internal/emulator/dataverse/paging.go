package dataverse

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// bookmark says where a list goes on: which page comes next and between which
// rows the page before it lay.
type bookmark struct {
	page        int
	last, first string
	since       int64 // row version from which changes are tracked, 0 when they are not
}

// inner is the paging cookie: XML with record ids.
func (b bookmark) inner(t *table, check string) string {
	tracked := ""
	if b.since > 0 {
		tracked = fmt.Sprintf(` since="%d"`, b.since)
	}
	if check != "" {
		check = ` check="` + check + `"`
	}
	return fmt.Sprintf(`<cookie page="%d"%s%s><%s last="{%s}" first="{%s}" /></cookie>`,
		b.page-1, tracked, check, t.id, strings.ToUpper(b.last), strings.ToUpper(b.first))
}

var skipTokenForm = regexp.MustCompile(`^<cookie pagenumber="(\d{1,9})" pagingcookie="([^"]*)" istracking="(True|False)" />$`)
var cookieForm = regexp.MustCompile(`^<cookie page="(\d{1,9})"(?: since="(\d{1,18})")?(?: check="([0-9a-f]{16})")?><(\w+) last="\{([0-9A-Fa-f-]{36})\}" first="\{([0-9A-Fa-f-]{36})\}" /></cookie>$`)

// skipToken gives "$skiptoken=..." in the encoding of Dataverse's own links.
// The token goes with the path and the options that it was made for: a
// checksum tells when a client has changed them.
func (o *Organization) skipToken(root, path string, given options, t *table, b bookmark) string {
	check := o.checksum(root, path, given, b)
	tracking := "False"
	if b.since > 0 {
		tracking = "True"
	}
	token := fmt.Sprintf(`<cookie pagenumber="%d" pagingcookie="%s" istracking="%s" />`, b.page, escapeLower(b.inner(t, check)), tracking)
	return "$skiptoken=" + strings.NewReplacer("%", "%25", "<", "%3C", ">", "%3E", `"`, "%22", " ", "%20").Replace(token)
}

func (o *Organization) checksum(root, path string, given options, b bookmark) string {
	plain, err := url.PathUnescape(path)
	if err != nil {
		plain = path
	}
	_, version, _ := strings.Cut(root, "/api/data/")
	h := sha256.New()
	fmt.Fprintf(h, "%s %q %q %+v", o.id, version, plain, b)
	for _, option := range given {
		if option.name != "$skiptoken" {
			fmt.Fprintf(h, " %q=%q", option.name, option.value)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// readSkipToken reads a token that this organization made for this very path
// and these options; any other is refused.
func (q *request) readSkipToken(token string, given options) (bookmark, error) {
	bad := badQuery("The paging token in the $skiptoken query option is malformed or does not belong to this request.")
	outer := skipTokenForm.FindStringSubmatch(token)
	if outer == nil {
		return bookmark{}, bad
	}
	cookie, err := url.PathUnescape(outer[2])
	if err != nil {
		return bookmark{}, bad
	}
	b, check, ok := readCookie(cookie)
	if !ok || strconv.Itoa(b.page) != outer[1] || check == "" || check != q.org.checksum(q.root, q.path, given, b) {
		return bookmark{}, bad
	}
	return b, nil
}

func readCookie(cookie string) (b bookmark, check string, ok bool) {
	m := cookieForm.FindStringSubmatch(cookie)
	if m == nil {
		return bookmark{}, "", false
	}
	page, err := strconv.Atoi(m[1])
	if err != nil {
		return bookmark{}, "", false
	}
	if m[2] != "" {
		if b.since, err = strconv.ParseInt(m[2], 10, 64); err != nil {
			return bookmark{}, "", false
		}
	}
	b.page, b.last, b.first = page+1, strings.ToLower(m[5]), strings.ToLower(m[6])
	return b, m[3], true
}

// after gives the rows that follow a bookmark in an order. The bookmark's last
// row may have been deleted meanwhile: its place is known all the same.
func (b bookmark) after(d *store, t *table, rows []*row, order []ordering) []*row {
	last := d.recall(t, b.last)
	if last == nil {
		return nil
	}
	at := slices.IndexFunc(rows, func(r *row) bool {
		by := d.compareRows(order, r, last)
		return by > 0 || by == 0 && r.seq > last.seq
	})
	if at < 0 {
		return nil
	}
	return rows[at:]
}

// escapeLower percent-encodes everything but letters, digits and "-_.", in
// lower-case hex, as the server's own encoder does.
func escapeLower(s string) string {
	var out strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' {
			out.WriteByte(c)
			continue
		}
		fmt.Fprintf(&out, "%%%02x", c)
	}
	return out.String()
}

// encodeOptions gives options as a query string that ends in '&', or "". It
// escapes as little as a query allows, so that links stay legible.
func encodeOptions(given options) string {
	var out strings.Builder
	for _, option := range given {
		if option.name == "$skiptoken" {
			continue
		}
		out.WriteString(option.name + "=")
		for i := range len(option.value) {
			c := option.value[i]
			if c <= ' ' || c > '~' || strings.IndexByte(`%&#+"<>`, c) >= 0 {
				fmt.Fprintf(&out, "%%%02X", c)
				continue
			}
			out.WriteByte(c)
		}
		out.WriteByte('&')
	}
	return out.String()
}
