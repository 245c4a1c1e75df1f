package dataverse

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
)

// chunkSize is the size of the chunks in which clients are asked to send files.
const chunkSize = 4 << 20

// file is the content of a file column. It does not change once it is stored.
type file struct {
	id     string
	name   string
	pieces [][]byte
	bytes  int64
}

// span is a part of a file: from the byte at from up to but not including to.
type span struct {
	file     *file
	from, to int64
}

func (s *span) size() int64 { return s.to - s.from }

// writeTo writes the span piece by piece, without a copy of its own.
func (s *span) writeTo(w io.Writer) {
	at := int64(0)
	for _, piece := range s.file.pieces {
		from, to := max(s.from-at, 0), min(s.to-at, int64(len(piece)))
		at += int64(len(piece))
		if from >= to {
			continue
		}
		if _, err := w.Write(piece[from:to]); err != nil {
			return
		}
	}
}

func sizeOf(pieces [][]byte) int64 {
	n := int64(0)
	for _, piece := range pieces {
		n += int64(len(piece))
	}
	return n
}

// serveFile answers for a file column.
func (q *request) serveFile(at *target, opts options, prefer *preferences) (*answer, error) {
	if err := opts.only("size", "sessiontoken", "x-ms-file-name"); err != nil {
		return nil, err
	}
	switch {
	case q.reads():
		return q.download(at, prefer)
	case q.method == http.MethodDelete && !at.raw:
		q.org.data.update(at.table, at.id, map[string]any{at.column.name: nil}, q.by)
		return q.noContent(), nil
	case q.method == http.MethodPatch && !at.raw:
		return q.upload(at, opts)
	}
	return nil, badMethod(q.method)
}

// upload takes a file whole, or begins or continues one in chunks.
func (q *request) upload(at *target, opts options) (*answer, error) {
	if token, ok := opts.get("sessiontoken"); ok {
		return q.appendChunk(at, token)
	}
	name, err := q.fileName(opts)
	if err != nil {
		return nil, err
	}
	if q.header.Get("x-ms-transfer-mode") == "chunked" {
		return q.beginUpload(at, name)
	}
	if q.content == nil && len(q.body) > 0 {
		return nil, faultf(http.StatusUnsupportedMediaType, codePayload, "A file is uploaded with the content type 'application/octet-stream'.")
	}
	q.storeFile(at, name, q.content)
	return q.noContent(), nil
}

// fileName gives the name in the header, which is ASCII, or else in the query.
func (q *request) fileName(opts options) (string, error) {
	if name := q.header.Get("x-ms-file-name"); name != "" {
		return name, nil
	}
	if name, _ := opts.get("x-ms-file-name"); name != "" {
		return name, nil
	}
	return "", faultf(http.StatusBadRequest, codeArgument, "The file name is missing: give x-ms-file-name as a header or in the query.")
}

func (q *request) storeFile(at *target, name string, pieces [][]byte) {
	d := q.org.data
	content := &file{id: d.guid(fmt.Sprintf("file/%d", d.version+1)), name: name, pieces: pieces, bytes: sizeOf(pieces)}
	d.update(at.table, at.id, map[string]any{at.column.name: content}, q.by)
}

// uploadSession is a chunked upload that is under way.
type uploadSession struct {
	record reference
	column string
	name   string
	pieces [][]byte
	bytes  int64
}

// maxSessions bounds the uploads under way, and so what unfinished ones hold.
const maxSessions = 32

func (q *request) beginUpload(at *target, name string) (*answer, error) {
	o := q.org
	if len(o.sessions) >= maxSessions {
		return nil, faultf(http.StatusBadRequest, codeArgument, "More than %d uploads are under way.", maxSessions)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d %s", o.id, o.data.version, len(o.sessions), at.id))
	token := hex.EncodeToString(sum[:16])
	o.sessions[token] = &uploadSession{record: reference{at.table.name, at.id}, column: at.column.name, name: name}
	a := &answer{status: http.StatusOK}
	a.set("OData-Version", "4.0")
	a.set("Location", q.root+q.path+"?sessiontoken="+token)
	a.set("x-ms-chunk-size", strconv.Itoa(chunkSize))
	a.set("Accept-Ranges", "bytes")
	return a, nil
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,12})-(\d{1,12})/(\d{1,12})$`)

// appendChunk takes the next chunk of a session. Chunks come in order and must
// be as long as they say; the last one stores the file.
func (q *request) appendChunk(at *target, token string) (*answer, error) {
	s := q.org.sessions[token]
	if s == nil || s.record != (reference{at.table.name, at.id}) || s.column != at.column.name {
		return nil, faultf(http.StatusBadRequest, codeArgument, "The session token is not valid.")
	}
	m := contentRange.FindStringSubmatch(q.header.Get("Content-Range"))
	if m == nil {
		return nil, faultf(http.StatusBadRequest, codeArgument, "The header Content-Range is missing or malformed.")
	}
	from, _ := strconv.ParseInt(m[1], 10, 64)
	to, _ := strconv.ParseInt(m[2], 10, 64)
	total, _ := strconv.ParseInt(m[3], 10, 64)
	size := sizeOf(q.content)
	if from != s.bytes || to-from+1 != size || to >= total || size > chunkSize {
		return nil, faultf(http.StatusRequestedRangeNotSatisfiable, codeArgument,
			"The range '%s' does not fit %d bytes that follow %d.", m[0], size, s.bytes)
	}
	if total > maxBody {
		return nil, faultf(http.StatusBadRequest, codeFileTooLarge, "The file is larger than %d bytes.", maxBody)
	}
	s.pieces = append(s.pieces, q.content...)
	s.bytes += size
	if s.bytes < total {
		a := &answer{status: http.StatusPartialContent}
		a.set("OData-Version", "4.0")
		return a, nil
	}
	q.storeFile(at, s.name, s.pieces)
	delete(q.org.sessions, token)
	return q.noContent(), nil
}

// download answers with a file or the range of it that is asked for: its bytes
// at /$value, else base64 in JSON.
func (q *request) download(at *target, prefer *preferences) (*answer, error) {
	f, _ := q.org.data.find(at.table, at.id).values[at.column.name].(*file)
	if f == nil {
		return q.noContent(), nil
	}
	part, status, err := q.rangeOf(f)
	if err != nil {
		return nil, err
	}
	a := &answer{status: status, file: part}
	a.set("Content-Type", "application/octet-stream")
	a.set("OData-Version", "4.0")
	if !at.raw {
		if part.size() > chunkSize {
			return nil, faultf(http.StatusBadRequest, codeFileTooLarge, "Ask for at most %d bytes at a time, or for $value.", chunkSize)
		}
		a = prefer.json(status, object{
			{"@odata.context", q.root + "$metadata#" + at.table.set + "(" + at.id + ")/" + at.column.name},
			{"value", part.base64()},
		})
		a.set("Location", q.root+q.path+"?sessiontoken="+f.id)
	}
	a.set("x-ms-file-name", url.PathEscape(f.name))
	a.set("x-ms-file-size", strconv.FormatInt(f.bytes, 10))
	a.set("x-ms-chunk-size", strconv.Itoa(chunkSize))
	a.set("mimetype", "application/octet-stream")
	a.set("Content-Disposition", `attachment; filename="`+url.PathEscape(f.name)+`"`)
	a.set("Accept-Ranges", "bytes")
	if status == http.StatusPartialContent {
		a.set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.from, part.to-1, f.bytes))
	}
	return a, nil
}

func (s *span) base64() string {
	var plain []byte
	s.writeTo(writerFunc(func(p []byte) (int, error) {
		plain = append(plain, p...)
		return len(p), nil
	}))
	return base64.StdEncoding.EncodeToString(plain)
}

// writerFunc is a function as an io.Writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

var byteRange = regexp.MustCompile(`^bytes=(\d{1,12})-(\d{0,12})$`)

// rangeOf gives the part of a file that the Range header asks for. A form that
// is not understood is passed over, as HTTP allows.
func (q *request) rangeOf(f *file) (*span, int, error) {
	m := byteRange.FindStringSubmatch(q.header.Get("Range"))
	if m == nil {
		return &span{f, 0, f.bytes}, http.StatusOK, nil
	}
	from, _ := strconv.ParseInt(m[1], 10, 64)
	to := f.bytes
	if m[2] != "" {
		last, _ := strconv.ParseInt(m[2], 10, 64)
		to = min(to, last+1)
	}
	if from >= to {
		return nil, 0, faultf(http.StatusRequestedRangeNotSatisfiable, codeArgument, "The range '%s' lies outside the file of %d bytes.", m[0], f.bytes)
	}
	return &span{f, from, to}, http.StatusPartialContent, nil
}
