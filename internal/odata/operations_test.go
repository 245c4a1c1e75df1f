package odata

import (
	"io"
	"strings"
	"testing"
)

func TestOperationsAreOfferedAtTheProxy(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"@odata.id":"O/a(1)","#Microsoft.Dynamics.CRM.AddToQueue":{"title":"O/t","target":"O/a(1)/Microsoft.Dynamics.CRM.AddToQueue"},"target":"O/"}`, `{"@odata.id":"P/a(1)","#Microsoft.Dynamics.CRM.AddToQueue":{"title":"O/t","target":"P/a(1)/Microsoft.Dynamics.CRM.AddToQueue"},"target":"O/"}`},
		{`{"value":[{"#F" : [ {"target" : "O/a"}, {"title":"target","target":"O/b"} ] ,"x":{"target":"O/c"}}],"target":"O/"}`, `{"value":[{"#F" : [ {"target" : "P/a"}, {"title":"target","target":"P/b"} ] ,"x":{"target":"O/c"}}],"target":"O/"}`},
		{`{"#F":{"target":"https:\/\/contoso.crm.dynamics.com\/a"},"#G":"target","target":"O/","a":"#","b":{"target":"O/"}}`, `{"#F":{"target":"http:\/\/proxy:8080\/contoso\/a"},"#G":"target","target":"O/","a":"#","b":{"target":"O/"}}`},
		{`{"a":"\\\"#F\":{\"target\":\"O/\"}","#F":{"targets":"O/","arget":"O/","target":null,"b":"O/"},"b":["#F",{"target":"O/"}]}`, ""},
		{`{"#F":{"target":"O`, ""}, {`{"#F":{"tar`, ""}, {`{"#F\`, ""}, {`}]"`, ""}, {``, ""},
	}
	links := strings.NewReplacer("O/", orgBase+"/", "P/", publicBase+"/")
	for _, tt := range tests {
		in, want := links.Replace(tt.in), links.Replace(tt.want)
		if want == "" {
			want = in
		}
		if got := rewritten(t, contoso().FullBody, in); got != want {
			t.Errorf("FullBody(%s)\n got %s\nwant %s", in, got, want)
		}
		// The same as a part of a batch.
		const part = "--b\nContent-Type: application/http\n\nHTTP/1.1 200 OK\nContent-Type: application/json; odata.metadata=full\n\n"
		answer := func(src io.Reader) io.Reader { return contoso().BatchResponse(src, "b") }
		if got := rewritten(t, answer, part+in+"\n--b--\n"); got != part+want+"\n--b--\n" {
			t.Errorf("in a batch\n got %s\nwant %s", got, want)
		}
	}
}
