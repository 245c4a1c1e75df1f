package dataverse

import (
	"errors"
	"fmt"
	"net/http"
)

// Codes that Dataverse gives in error.code.
const (
	codeQuery        = "0x80060888" // query, URL or version not understood
	codeSegment      = "0x8006088a" // no such resource
	codePayload      = "0x80048d19" // body not understood
	codeMissing      = "0x80040217" // no such record
	codeVersion      = "0x80060882" // row version does not match
	codeDuplicate    = "0x80040237" // a record with these keys exists
	codeArgument     = "0x80040203" // invalid argument
	codePrivilege    = "0x80040220" // a privilege is missing
	codeNoMember     = "0x80072560" // the user is not of this organization
	codeDisabled     = "0x80040225" // the user is disabled
	codeFileTooLarge = "0x80044a02"
)

// fault is an error as Dataverse answers it.
type fault struct {
	status  int
	code    string
	message string
}

func (f *fault) Error() string { return f.code + ": " + f.message }

func faultf(status int, code, format string, args ...any) error {
	return &fault{status, code, fmt.Sprintf(format, args...)}
}

// badQuery is the fault of a URL that cannot be understood.
func badQuery(format string, args ...any) error {
	return faultf(http.StatusBadRequest, codeQuery, format, args...)
}

// notImplemented is the fault of a query that Dataverse, or this part of it,
// does not carry out.
func notImplemented(format string, args ...any) error {
	return faultf(http.StatusNotImplemented, codeQuery, format, args...)
}

// badPayload is the fault of a body that does not fit the table.
func badPayload(t *table, format string, args ...any) error {
	return faultf(http.StatusBadRequest, codePayload,
		"Error identified in Payload provided by the user for Entity :'%s', InnerException : %s", t.set, fmt.Sprintf(format, args...))
}

func noSegment(segment string) error {
	return faultf(http.StatusNotFound, codeSegment, "Resource not found for the segment '%s'.", segment)
}

func noRecord(t *table, id string) error {
	return faultf(http.StatusNotFound, codeMissing, "Entity '%s' With Id = %s Does Not Exist", t.name, id)
}

func badMethod(method string) error {
	return faultf(http.StatusMethodNotAllowed, codeQuery, "The requested resource does not support http method '%s'.", method)
}

// faultOf returns err as a fault; what is not one is a defect of ours and is
// answered as Dataverse answers its own.
func faultOf(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	return &fault{http.StatusInternalServerError, "0x80040216", "An unexpected error occurred: " + err.Error()}
}

// answer gives the fault as an answer in Dataverse's JSON.
func (f *fault) answer() *answer {
	a := &answer{status: f.status}
	a.set("Content-Type", "application/json; odata.metadata=minimal")
	a.set("OData-Version", "4.0")
	a.body = appendJSON(nil, object{{"error", object{{"code", f.code}, {"message", f.message}}}})
	return a
}

// WriteError writes {"error":{"code":...,"message":...}} as Dataverse does.
func WriteError(w http.ResponseWriter, status int, code, message string) {
	(&fault{status, code, message}).answer().write(w)
}
