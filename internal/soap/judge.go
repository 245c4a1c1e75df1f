package soap

import "strings"

const (
	space11     = "http://schemas.xmlsoap.org/soap/envelope/"
	space12     = "http://www.w3.org/2003/05/soap-envelope"
	schemaSpace = "http://www.w3.org/2001/XMLSchema-instance"
	serialSpace = "http://schemas.microsoft.com/2003/10/Serialization/"
)

// judge walks through an envelope. frames go beside the scanner's stack.
type judge struct {
	scanner
	frames  []frame
	space   string // the envelope's
	body    bool   // the Body has begun
	found   Envelope
	actions []string // of WS-Addressing headers
	inner   int      // requests seen within an Execute
}

// frame is what is known of an open element.
type frame struct {
	local   string
	request bool   // it is a request of Execute, or of one that holds others
	kind    string // of a request: its type's name, without Request
	named   bool   // of a request: RequestName has been seen
	message string // of a request: RequestName
	word    word   // why its text is wanted
	held    int    // of a request: how many requests came before it ended
}

// word is a text that decides.
type word int

const (
	none word = iota
	callerID
	action
	requestName
	parameterKey
)

func (j *judge) run() error {
	for {
		k, err := j.next()
		switch {
		case err != nil:
			return err
		case k == ended:
			if j.found.Operation == "" {
				return unreadable("the envelope has no Body with an operation")
			}
			return nil
		case k == opened:
			err = j.enter(j.stack[len(j.stack)-1])
		default:
			err = j.leave()
		}
		if err != nil {
			return err
		}
	}
}

func (j *judge) enter(e element) error {
	if j.keep {
		return unreadable("an element stands where the envelope should hold a word")
	}
	f := frame{local: e.local, held: j.inner}
	depth := len(j.stack)
	for _, a := range e.attrs {
		switch {
		case a.space == serialSpace && a.local == "Ref":
			return unreadable("the envelope refers to a value elsewhere in it (z:Ref)")
		case a.space == schemaSpace && a.local == "type":
			_, local, prefixed := strings.Cut(strings.TrimSpace(a.value), ":")
			if !prefixed {
				local = strings.TrimSpace(a.value)
			}
			f.kind, f.request = strings.CutSuffix(local, "Request")
		}
	}
	var err error
	switch {
	case depth <= 2:
		err = j.outline(e, depth)
	case !j.body:
		f.word = headerWord(e.local, depth)
	case depth == 3:
		err = j.operation(e.local)
	default:
		err = j.inside(&f, depth)
	}
	j.frames = append(j.frames, f)
	j.keep, j.text = f.word != none, j.text[:0]
	return err
}

// outline reads Envelope, Header and Body, which are in one namespace, each
// once and in this order.
func (j *judge) outline(e element, depth int) error {
	switch {
	case depth == 1 && e.local == "Envelope" && (e.space == space11 || e.space == space12):
		j.space = e.space
		return nil
	case depth == 2 && e.name == name{j.space, "Header"} && !j.body && len(j.frames) == 1 && !j.frames[0].named:
		j.frames[0].named = true
		return nil
	case depth == 2 && e.name == name{j.space, "Body"} && !j.body:
		j.body = true
		return nil
	case depth == 1:
		return unreadable("the message is no SOAP envelope")
	}
	return unreadable("the envelope holds more than one Header and one Body, in this order")
}

// headerWord says what of the Header decides: who the call shall run as, in any
// spelling and at any depth, and what WS-Addressing says is asked.
func headerWord(local string, depth int) word {
	lower := strings.ToLower(local)
	switch {
	case strings.HasPrefix(lower, "caller"), strings.Contains(lower, "callerid"), strings.Contains(lower, "impersonat"):
		return callerID
	case lower == "action" && depth == 3:
		return action
	}
	return none
}

func (j *judge) operation(local string) error {
	if j.found.Operation != "" {
		return unreadable("the envelope's Body holds more than one operation")
	}
	j.found.Operation = local
	if !reads(operations, local) && local != "Execute" {
		j.writes(local)
	}
	return nil
}

// inside reads what an operation is asked with.
func (j *judge) inside(f *frame, depth int) error {
	parent := &j.frames[depth-2]
	switch {
	case f.local == "RequestName":
		if parent.named {
			return unreadable("a request in the envelope has more than one RequestName")
		}
		parent.named, parent.request = true, true
		f.word = requestName
	case strings.EqualFold(f.local, "key") && j.frames[depth-3].local == "Parameters":
		f.word = parameterKey
	case f.local == "OrganizationRequest", depth == 4 && strings.EqualFold(f.local, "request"):
		f.request = true
	}
	return nil
}

func (j *judge) leave() error {
	f := j.frames[len(j.frames)-1]
	j.frames = j.frames[:len(j.frames)-1]
	text := strings.TrimSpace(string(j.text))
	j.keep = false
	switch f.word {
	case callerID:
		if strings.Trim(text, "0-{}") != "" && j.found.Impersonates == "" {
			j.found.Impersonates = f.local
		}
	case action:
		j.actions = append(j.actions, text)
	case requestName:
		j.frames[len(j.frames)-1].message = text
	case parameterKey:
		if j.found.Bypasses == "" && bypasses(text) {
			j.found.Bypasses = text
		}
	}
	if len(j.stack) == 3 && j.body && f.local == "Execute" && j.inner == 0 {
		j.writes("Execute without a request")
	}
	if f.request && j.found.Operation == "Execute" {
		j.request(f, j.inner-f.held)
		j.inner++
	}
	j.pop()
	return nil
}

// request judges one request by its name and its type: what either of them
// calls a write is one. What holds requests is judged by these.
func (j *judge) request(f frame, held int) {
	if len(j.stack) == 4 {
		j.found.Message, j.found.Requests = f.message, held
	}
	for _, said := range []string{f.message, f.kind} {
		switch {
		case said == "" && f.message != "", said == "Organization" && f.message != "":
			// The type does not say.
		case reads(messages, said) || strings.HasPrefix(said, "Retrieve"):
		case (said == "ExecuteMultiple" || said == "ExecuteTransaction") && held > 0:
		case f.message == "":
			j.writes("a request without a name")
			j.writes(said)
		default:
			j.writes(said)
		}
	}
}

func (j *judge) writes(what string) {
	if j.found.Write == "" {
		j.found.Write = what
	}
	switch strings.ToLower(what) {
	case "update", "upsert":
		j.found.Updates = what
	case "delete", "disassociate":
		j.found.Deletes = what
	}
}

// bypasses reports whether a parameter goes round plug-ins and other logic of
// the organization. SuppressDuplicateDetection does not: it decides whether a
// duplicate is refused.
func bypasses(key string) bool {
	key = strings.ToLower(key)
	return strings.HasPrefix(key, "bypass") || strings.HasPrefix(key, "suppress") && key != "suppressduplicatedetection"
}
