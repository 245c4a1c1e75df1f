package service

import (
	"strings"

	"dynproxy/deploy/systemd"
)

const (
	startLine = "ExecStart="
	fileFlag  = "--env-file"
)

// unitOf is the service's unit by plan.
func unitOf(plan Plan) string {
	start := startLine + quoted(plan.Program) + " serve"
	for _, path := range plan.EnvFiles {
		start += " " + fileFlag + " " + quoted(path)
	}
	before, rest, _ := strings.Cut(systemd.Service, startLine)
	_, after, _ := strings.Cut(rest, "\n")
	return before + start + "\n" + after
}

// escapes are what systemd reads as something else than itself.
var escapes = []string{`%`, `%%`, `$`, `$$`, `\`, `\\`, `"`, `\"`}

// quoted is a word as systemd reads it in a command line.
func quoted(word string) string {
	escaped := strings.NewReplacer(escapes...).Replace(word)
	if strings.ContainsAny(word, " \t'\"\\;") {
		return `"` + escaped + `"`
	}
	return escaped
}

// envFilesOf are the settings' files that a unit of ours names.
func envFilesOf(unit string) []string {
	_, rest, _ := strings.Cut(unit, "\n"+startLine)
	line, _, _ := strings.Cut(rest, "\n")
	var unescape []string
	for i := 0; i < len(escapes); i += 2 {
		unescape = append(unescape, escapes[i+1], escapes[i])
	}
	plain := strings.NewReplacer(unescape...)
	var all []string
	for i, part := range strings.Split(line, " "+fileFlag+" ") {
		if part = strings.TrimSpace(part); i > 0 && part != "" {
			part = strings.TrimSuffix(strings.TrimPrefix(part, `"`), `"`)
			all = append(all, plain.Replace(part))
		}
	}
	return all
}
