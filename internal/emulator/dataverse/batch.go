package dataverse

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// maxParts is the greatest number of requests in a batch.
const maxParts = 1000

// maxBoundary is the greatest length of a boundary.
const maxBoundary = 70

// batch carries out a $batch. Its requests run in order; the first that fails
// ends it, unless the caller prefers to go on. A change set takes effect whole
// or not at all.
func (q *request) batch() *answer {
	parts, goOn, err := q.readBatch()
	if err != nil {
		return faultOf(err).answer()
	}
	out := q.newReply("batchresponse_")
	for i := range parts {
		ok := false
		if parts[i].changes != nil {
			ok = q.changeSet(out, &parts[i])
		} else {
			a := parts[i].request.answer()
			ok = a.status < 400
			out.add("", a)
		}
		if !ok && !goOn {
			out.status = http.StatusBadRequest
			break
		}
	}
	return out.answer()
}

// readBatch reads the whole batch before any of it takes effect.
func (q *request) readBatch() (parts []part, goOn bool, err error) {
	// The library that reads batches asks for a body and its type, and not for
	// the method.
	if q.method != http.MethodPost && len(q.body) == 0 {
		return nil, false, badMethod(q.method)
	}
	prefer, err := parsePreferences(q.header)
	if err != nil {
		return nil, false, err
	}
	opts, err := parseOptions(q.query)
	if err != nil {
		return nil, false, err
	}
	if err := opts.only(); err != nil {
		return nil, false, err
	}
	boundary, err := boundaryOf(q.header.Get("Content-Type"))
	if err != nil {
		return nil, false, err
	}
	parts, err = q.readParts(&batchReader{data: q.body, boundaries: []string{boundary}})
	if err != nil {
		return nil, false, err
	}
	total := 0
	for _, p := range parts {
		total += max(1, len(p.changes))
	}
	if total == 0 || total > maxParts {
		return nil, false, badBatch("a batch holds between 1 and %d requests, not %d", maxParts, total)
	}
	return parts, prefer.goOn, nil
}

func badBatch(format string, args ...any) error {
	return faultf(http.StatusBadRequest, codeQuery, "The batch request could not be understood: %s.", fmt.Sprintf(format, args...))
}

func boundaryOf(contentType string) (string, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if n := len(params["boundary"]); err != nil || media != "multipart/mixed" || n == 0 || n > maxBoundary {
		return "", badBatch("the content type '%s' is not multipart/mixed with a boundary", contentType)
	}
	return params["boundary"], nil
}

// changeSet carries out a change set and reports whether it took effect. Where
// one of its requests fails, the answer holds that failure alone.
func (q *request) changeSet(out *reply, p *part) bool {
	o := q.org
	o.mu.Lock()
	defer o.mu.Unlock()
	inner := out.nested()
	err := o.data.attempt(func() error {
		ids := map[string]string{}
		for _, change := range p.changes {
			change.request.contentIDs = ids
			a := change.request.carryOut()
			if a.status >= 400 {
				inner.body.Reset()
				inner.add(change.contentID, a)
				return badBatch("a request of the change set failed")
			}
			inner.add(change.contentID, a)
			if at := a.get("OData-EntityId"); at != "" && change.contentID != "" {
				ids[change.contentID] = strings.TrimPrefix(at, change.request.root)
			}
		}
		return nil
	})
	out.addNested(inner)
	return err == nil
}

// reply is a multipart answer that is being written.
type reply struct {
	boundary string
	seed     string
	parts    int
	status   int
	body     bytes.Buffer
}

// newReply begins an answer whose boundaries depend on the request alone.
func (q *request) newReply(prefix string) *reply {
	sum := sha256.Sum256(append([]byte(q.org.id+q.root), q.body...))
	seed := hex.EncodeToString(sum[:])
	return &reply{boundary: prefix + guidOf(seed), seed: seed, status: http.StatusOK}
}

func (r *reply) nested() *reply {
	seed := fmt.Sprintf("%s/%d", r.seed, r.parts)
	return &reply{boundary: "changesetresponse_" + guidOf(seed), seed: seed}
}

func (r *reply) addNested(inner *reply) {
	r.parts++
	fmt.Fprintf(&r.body, "--%s\r\nContent-Type: multipart/mixed; boundary=%s\r\n\r\n%s--%s--\r\n", r.boundary, inner.boundary, inner.body.Bytes(), inner.boundary)
}

// add writes one answer as a part.
func (r *reply) add(contentID string, a *answer) {
	r.parts++
	fmt.Fprintf(&r.body, "--%s\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n", r.boundary)
	if contentID != "" {
		fmt.Fprintf(&r.body, "Content-ID: %s\r\n", contentID)
	}
	fmt.Fprintf(&r.body, "\r\nHTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	for _, f := range a.header {
		if f.name == "Content-Type" && strings.HasPrefix(f.value, "application/json; odata.metadata=") {
			f.value += "; odata.streaming=true"
		}
		fmt.Fprintf(&r.body, "%s: %s\r\n", f.name, f.value)
	}
	fmt.Fprintf(&r.body, "REQ_ID: %s\r\n\r\n", guidOf(fmt.Sprintf("%s/request/%d", r.seed, r.parts)))
	if a.file != nil {
		a.file.writeTo(&r.body)
	}
	r.body.Write(a.body)
	r.body.WriteString("\r\n")
}

func (r *reply) answer() *answer {
	fmt.Fprintf(&r.body, "--%s--\r\n", r.boundary)
	a := &answer{status: r.status, body: r.body.Bytes()}
	a.set("Content-Type", "multipart/mixed; boundary="+r.boundary)
	a.set("OData-Version", "4.0")
	return a
}
