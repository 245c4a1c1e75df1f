package dataverse

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// WriteFault refuses a message as the organization service does: an
// OrganizationServiceFault with status 500, whatever the reason. code is that
// of the Web API, such as 0x80072560. Unless it is zero, retryAfter stands in
// the details as a duration of XML Schema.
func WriteFault(w http.ResponseWriter, code, message string, retryAfter time.Duration) {
	writeSOAP(w, http.StatusInternalServerError, `<s:Fault><faultcode>s:Client</faultcode><faultstring xml:lang="en-US">`+
		escapeXML(message)+`</faultstring><detail><OrganizationServiceFault xmlns="`+contractsNamespace+`">`+
		faultXML(code, message, retryAfter)+`</OrganizationServiceFault></detail></s:Fault>`)
}

// faultXML is what stands in an OrganizationServiceFault, whose namespace is
// the default one.
func faultXML(code, message string, retryAfter time.Duration) string {
	details := ""
	if retryAfter > 0 {
		details = `<KeyValuePairOfstringanyType><b:key>Retry-After</b:key><b:value i:type="d:duration">` + xsDuration(retryAfter) + `</b:value></KeyValuePairOfstringanyType>`
	}
	return fmt.Sprintf(`<ErrorCode>%d</ErrorCode><ErrorDetails>%s</ErrorDetails><Message>%s</Message><Timestamp>%s</Timestamp><InnerFault i:nil="true"/><TraceText i:nil="true"/>`,
		errorNumber(code), details, escapeXML(message), time.Now().UTC().Format(time.RFC3339))
}

// errorNumber is a code as the organization service writes it: the same bits,
// signed.
func errorNumber(code string) int32 {
	n, err := strconv.ParseUint(strings.TrimPrefix(code, "0x"), 16, 32)
	if err != nil {
		return math.MinInt32
	}
	return int32(uint32(n))
}

// xsDuration writes a duration as .NET does: PT5S, PT1M5S, PT5M, PT1.5S.
func xsDuration(d time.Duration) string {
	out := "PT"
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{time.Hour, "H"}, {time.Minute, "M"}} {
		if n := d / unit.size; n > 0 {
			out += strconv.FormatInt(int64(n), 10) + unit.name
		}
		d %= unit.size
	}
	if d > 0 || out == "PT" {
		out += strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "S"
	}
	return out
}

func writeSOAP(w http.ResponseWriter, status int, body string) {
	w.Header()["Content-Type"] = []string{"text/xml; charset=utf-8"}
	w.WriteHeader(status)
	// The client may be gone; there is nobody left to tell.
	_, _ = io.WriteString(w, `<s:Envelope xmlns:s="`+soapNamespace+`" xmlns:a="`+contractsNamespace+`" xmlns:b="`+genericNamespace+
		`" xmlns:c="`+schemaNamespace+`" xmlns:d="`+serializationNamespace+`" xmlns:e="`+contracts2012Namespace+`" xmlns:i="`+instanceNamespace+`"><s:Body>`+body+`</s:Body></s:Envelope>`)
}
