package dataverse

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// maxBody bounds a request's body, batches and files included.
const maxBody = 128 << 20

// pieceSize is the size of the pieces in which file content is kept: it is
// never copied together, so that an upload is in memory once.
const pieceSize = 1 << 20

// request is one Web API request, whether it came alone or in a batch.
type request struct {
	org        *Organization
	method     string
	host       string
	root       string // https://<host>/api/data/vX.Y/
	path       string // what follows root, still escaped, without the query
	query      string // still escaped
	header     http.Header
	body       []byte
	content    [][]byte // the body instead, of an octet-stream, in pieces
	who        Caller
	by         author
	contentIDs map[string]string // paths, relative to root, of earlier parts of a change set; nil outside
}

var versionPath = regexp.MustCompile(`^(?i:/api/data/)((?i:v)(?:8\.[0-2]|9\.[0-2]))(?:/|$)`)

// serveWebAPI answers a request to /api/data/.
func (o *Organization) serveWebAPI(w http.ResponseWriter, r *http.Request, who Caller) {
	q := &request{org: o, method: methodOf(r.Method, r.Header), host: r.Host, query: r.URL.RawQuery, header: r.Header, who: who}
	err := q.locate(r.URL.EscapedPath())
	if err == nil {
		err = q.read(r)
	}
	if err != nil {
		faultOf(err).answer().write(w)
		return
	}
	if q.path == "$batch" {
		q.batch().write(w)
		return
	}
	q.answer().write(w)
}

// methodOf is the method that a POST asks to be taken for, as clients do that
// cannot send every method. Servers and what stands before them differ in the
// header that they heed: here it is any, and the first value that says
// something.
func methodOf(method string, header http.Header) string {
	if method != http.MethodPost {
		return method
	}
	for _, name := range []string{"X-Http-Method", "X-Http-Method-Override", "X-Method-Override"} {
		for _, value := range header.Values(name) {
			if value = strings.ToUpper(strings.TrimSpace(value)); value != "" {
				return value
			}
		}
	}
	return method
}

// locate splits an escaped path into service root and the rest.
func (q *request) locate(path string) error {
	m := versionPath.FindStringSubmatch(path)
	if m == nil {
		version, _, _ := strings.Cut(path[min(len("/api/data/"), len(path)):], "/")
		return badQuery("Requested API Version '%s' was not understood as a valid version number.", version)
	}
	q.root = "https://" + q.host + "/api/data/" + strings.ToLower(m[1]) + "/"
	q.path = path[len(m[0]):]
	return nil
}

// read takes the body in. It runs before any lock is taken: a slow caller must
// not hold up the others.
func (q *request) read(r *http.Request) error {
	if r.ContentLength > maxBody {
		return faultf(http.StatusRequestEntityTooLarge, codeFileTooLarge, "The request is larger than %d bytes.", maxBody)
	}
	body := http.MaxBytesReader(nil, r.Body, maxBody)
	var err error
	if q.method == http.MethodPatch && strings.HasPrefix(r.Header.Get("Content-Type"), "application/octet-stream") {
		q.content, err = readPieces(body)
	} else {
		q.body, err = io.ReadAll(body)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return faultf(http.StatusRequestEntityTooLarge, codeFileTooLarge, "The request is larger than %d bytes.", maxBody)
	}
	if err != nil {
		return faultf(http.StatusBadRequest, codeQuery, "The request body could not be read: %v", err)
	}
	return nil
}

// readPieces reads r to its end into pieces.
func readPieces(r io.Reader) ([][]byte, error) {
	var pieces [][]byte
	for {
		piece := make([]byte, pieceSize)
		n, err := io.ReadFull(r, piece)
		if n > 0 {
			pieces = append(pieces, piece[:n:n])
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return pieces, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// reads reports whether the request only reads.
func (q *request) reads() bool { return q.method == http.MethodGet || q.method == http.MethodHead }

// answer carries the request out under the organization's lock.
func (q *request) answer() *answer {
	if q.reads() {
		q.org.mu.RLock()
		defer q.org.mu.RUnlock()
		return q.carryOut()
	}
	q.org.mu.Lock()
	defer q.org.mu.Unlock()
	return q.carryOut()
}

// carryOut does the request; what fails leaves nothing behind. The caller
// holds the lock.
func (q *request) carryOut() *answer {
	var a *answer
	run := func() (err error) {
		a, err = q.dispatch()
		return err
	}
	var err error
	if q.reads() {
		err = run()
	} else {
		err = q.org.data.attempt(run)
	}
	if err != nil {
		return faultOf(err).answer()
	}
	return a
}

// dispatch finds out what the request is about and does it.
func (q *request) dispatch() (*answer, error) {
	if err := q.identify(); err != nil {
		return nil, err
	}
	opts, err := parseOptions(q.query)
	if err != nil {
		return nil, err
	}
	switch q.path {
	case "":
		return q.serviceDocument(opts)
	case "$metadata":
		return q.metadataDocument(opts)
	}
	segments, err := splitPath(q.path)
	if err != nil {
		return nil, err
	}
	if name, args, ok := unboundOperation(segments); ok {
		return q.operation(name, args, opts)
	}
	res, err := q.resolve(segments)
	if err != nil {
		return nil, err
	}
	return q.serveResource(res, opts)
}

// identify finds the user on whose behalf the request runs: the application
// user, or the one it impersonates.
func (q *request) identify() error {
	users := q.org.data.schema.table("systemuser")
	caller := q.org.data.find(users, strings.ToLower(q.who.UserID))
	if caller == nil {
		return faultf(http.StatusForbidden, codeNoMember, "The user is not a member of the organization.")
	}
	if off, _ := caller.values["isdisabled"].(bool); off {
		return faultf(http.StatusForbidden, codeDisabled, "The specified user(Id = %s) is disabled. Consider enabling this user.", caller.id)
	}
	q.by = author{user: caller.id}
	if id := q.header.Get("MSCRMCallerID"); id != "" {
		return q.impersonate("systemuserid", id)
	}
	if id := q.header.Get("CallerObjectId"); id != "" {
		return q.impersonate("azureactivedirectoryobjectid", id)
	}
	return nil
}

func (q *request) impersonate(column, id string) error {
	for _, user := range q.org.data.all(q.org.data.schema.table("systemuser")) {
		if held, _ := user.values[column].(string); held != "" && strings.EqualFold(held, id) {
			q.by = author{user: user.id, caller: q.by.user}
			return nil
		}
	}
	return faultf(http.StatusBadRequest, codeMissing, "systemuser With Id = %s Does Not Exist", id)
}

// allow refuses users without any security role.
func (q *request) allow(t *table) error {
	if q.org.data.privileged(q.by.user) && !q.who.NoRole {
		return nil
	}
	verb := map[string]string{"GET": "Read", "HEAD": "Read", "POST": "Create", "DELETE": "Delete"}[q.method]
	if verb == "" {
		verb = "Write"
	}
	return faultf(http.StatusForbidden, codePrivilege,
		"Principal user (Id=%s, type=8) is missing prv%s%s privilege for entity '%s'.", q.by.user, verb, strings.ReplaceAll(t.label, " ", ""), t.name)
}

// field is one header of an answer.
type field struct{ name, value string }

// answer is what a request is answered with. Its header names go out as they
// are spelled here.
type answer struct {
	status int
	header []field
	body   []byte
	file   *span // the body instead, of a download
}

// set puts a header in place of one of the same name.
func (a *answer) set(name, value string) {
	for i := range a.header {
		if a.header[i].name == name {
			a.header[i].value = value
			return
		}
	}
	a.header = append(a.header, field{name, value})
}

func (a *answer) get(name string) string {
	for _, f := range a.header {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
	for _, f := range a.header {
		h[f.name] = []string{f.value}
	}
	if a.file != nil {
		h["Content-Length"] = []string{strconv.FormatInt(a.file.size(), 10)}
	}
	w.WriteHeader(a.status)
	if a.file != nil {
		a.file.writeTo(w)
		return
	}
	w.Write(a.body)
}
