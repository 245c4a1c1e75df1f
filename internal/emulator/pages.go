package emulator

import (
	"html/template"
	"net/http"
)

// frame is what the pages have in common.
const frame = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{template "title" .}} - dynproxy emulator</title>
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}
button{font:inherit;padding:.4rem 1rem;margin-right:.5rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .5rem;border-bottom:1px solid #8888}
code{word-break:break-all}small{opacity:.75}
</style></head><body><main><h1>{{template "title" .}}</h1>
{{template "body" .}}
<p><small>This is the emulator of dynproxy, not Microsoft. Do not type a real password anywhere on it.</small></p>
</main></body></html>
`

func page(body string) *template.Template {
	return template.Must(template.Must(template.New("page").Parse(frame)).Parse(body))
}

var (
	errorPage = page(`{{define "title"}}Sorry, but we're having trouble signing you in{{end}}{{define "body"}}
<p id="error">AADSTS{{.Code}}: {{.Message}}</p>{{end}}`)

	consentPage = page(`{{define "title"}}Permissions requested{{end}}{{define "body"}}
<p><strong id="app">{{.App}}</strong> (<code>{{.Client}}</code>) would like to act in your organization
{{- if .Scope}}, with <code>{{.Scope}}</code>{{end}}.</p>
<form method="post" action="{{.Action}}">
<p><label>Sign in as <select name="tenant" id="tenant">
{{- range .Tenants}}<option value="{{.ID}}">{{.Administrator}}</option>{{end}}</select></label></p>
<p>After your decision you are sent to <code>{{.Redirect}}</code>.</p>
<button name="decision" value="accept" id="accept">Accept</button>
<button name="decision" value="cancel" id="cancel">Cancel</button>
</form>{{end}}`)

	postBackPage = page(`{{define "title"}}Back to the app{{end}}{{define "body"}}
<form method="post" action="{{.To}}" id="back">
{{- range $name, $value := .Values}}<input type="hidden" name="{{$name}}" value="{{$value}}">{{end}}
<button id="continue">Continue</button></form>
<script>document.getElementById("back").submit()</script>{{end}}`)

	devicePage = page(`{{define "title"}}Enter the code{{end}}{{define "body"}}
{{with .Done}}<p id="done">{{.}}</p>{{else}}
{{with .Problem}}<p id="error">{{.}}</p>{{end}}
<form method="post">
<p><label>Code <input name="user_code" id="user_code" value="{{.Code}}" required autocomplete="off"></label></p>
<p><label>Sign in as <select name="tenant" id="tenant">
{{- range .Tenants}}<option value="{{.ID}}">{{.Administrator}}</option>{{end}}</select></label></p>
<button name="decision" value="accept" id="accept">Continue</button>
<button name="decision" value="cancel" id="cancel">Cancel</button>
</form>{{end}}{{end}}`)

	organizationPage = page(`{{define "title"}}{{.Name}}{{end}}{{define "body"}}
<p>Dataverse organization <a href="{{.URL}}">{{.URL}}</a> in tenant <code>{{.TenantID}}</code>.</p>
<h2>Application users</h2>
<table><tr><th>App</th><th>State</th><th></th></tr>
{{range .Users}}<tr id="user-{{.Client}}"><td>{{.App}}<br><code>{{.Client}}</code></td><td>{{.State}}</td>
<td><form method="post"><input type="hidden" name="client_id" value="{{.Client}}">
{{- if .Exists}}<button name="action" value="remove">Remove</button>
{{- if .Disabled}}<button name="action" value="enable">Enable</button>{{else}}<button name="action" value="disable">Disable</button>{{end}}
{{- else}}<button name="action" value="create">Create application user</button>{{end}}</form></td></tr>{{end}}
</table>
<h2>Another app</h2>
<form method="post"><label>Client id <input name="client_id" id="client_id" required></label>
<button name="action" value="create" id="create">Create application user</button></form>{{end}}`)
)

// writePage writes a page of HTML.
func writePage(w http.ResponseWriter, status int, t *template.Template, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A visitor who is gone needs no page.
	_ = t.Execute(w, data)
}

// visitor is an administrator as whom a page lets people sign in.
type visitor struct{ ID, Administrator string }

func visitors(tenants []*tenant) []visitor {
	var list []visitor
	for _, t := range tenants {
		list = append(list, visitor{t.id, t.administrator()})
	}
	return list
}

// Code and Message are for the page of an error.
func (f *refusal) Code() int       { return f.code }
func (f *refusal) Message() string { return f.message }

// page is what the consent page shows.
func (q *consentQuestion) page(r *http.Request) map[string]any {
	name := q.app.Name
	if name == "" {
		name = q.app.ClientID
	}
	return map[string]any{
		"App": name, "Client": q.app.ClientID, "Scope": q.scope, "Action": r.URL.RequestURI(),
		"Tenants": visitors(q.tenants), "Redirect": q.redirect.String(),
	}
}
