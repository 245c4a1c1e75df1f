package main

import (
	"regexp"
	"slices"
	"strings"
)

// known is a licence that is allowed, by sentences that stand in it and not
// all in another.
type known struct {
	id      string
	says    []string
	without string // what only a longer licence of its family says; "" for nothing
}

// allowed are the licences under which others' work may be in a program of
// ours. All ask for their text to be passed on, MPL-2.0 also for telling where
// the source of the files under it is, which are used as they are; none asks
// for anything of who uses the program.
var allowed = []known{
	{id: "Apache-2.0", says: []string{
		"apache license version 2.0",
		"grants to you a perpetual worldwide non exclusive no charge royalty free irrevocable copyright license",
		"you must give any other recipients of the work or derivative works a copy of this license",
	}},
	{id: "MIT", says: []string{
		"permission is hereby granted free of charge to any person obtaining a copy of this software",
		"to use copy modify merge publish distribute sublicense and or sell copies of the software",
		"the above copyright notice and this permission notice shall be included in all copies or substantial portions of the software",
	}},
	{id: "BSD-3-Clause", says: []string{
		"redistribution and use in source and binary forms with or without modification are permitted provided that the following conditions are met",
		"redistributions in binary form must reproduce the above copyright notice",
		"may be used to endorse or promote products derived from this software without specific prior written permission",
	}, without: "all advertising materials"},
	{id: "BSD-2-Clause", says: []string{
		"redistribution and use in source and binary forms with or without modification are permitted provided that the following conditions are met",
		"redistributions in binary form must reproduce the above copyright notice",
	}, without: "may be used to endorse or promote products"},
	{id: "ISC", says: []string{
		"permission to use copy modify and or distribute this software for any purpose with or without fee is hereby granted provided that the above copyright notice and this permission notice appear in all copies",
	}},
	{id: mpl, says: []string{
		"mozilla public license version 2.0",
		"all distribution of covered software in source code form including any modifications that you create or to which you contribute must be under the terms of this license",
	}},
}

const mpl = "MPL-2.0"

// copyleft are words of licences that ask for more; a text with one of them is
// not allowed, whatever else it says. MPL-2.0 names some as what others may
// choose.
var copyleft = []string{
	"gnu general public license", "gnu lesser general public license", "gnu affero general public license",
	"eclipse public license", "server side public license", "business source license", "commons clause",
}

var noWord = regexp.MustCompile(`[^a-z0-9.]+`)

// plain is text in small letters, with one blank for whatever is no word.
func plain(text string) string {
	return strings.TrimSpace(noWord.ReplaceAllString(strings.ToLower(text), " "))
}

// identify returns which allowed licences text is of, joined by AND; "" if that
// is not known.
func identify(text string) string {
	text = plain(text)
	var found []string
	for _, l := range allowed {
		if l.in(text) {
			found = append(found, l.id)
		}
	}
	for _, words := range copyleft {
		if strings.Contains(text, words) && !slices.Equal(found, []string{mpl}) {
			return ""
		}
	}
	return strings.Join(found, " AND ")
}

func (l known) in(text string) bool {
	for _, sentence := range l.says {
		if !strings.Contains(text, sentence) {
			return false
		}
	}
	return l.without == "" || !strings.Contains(text, l.without)
}

func allowedNames() string {
	var names []string
	for _, l := range allowed {
		names = append(names, l.id)
	}
	return strings.Join(names, ", ")
}
