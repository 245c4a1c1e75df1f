package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"dynproxy/internal/envfile"
	"dynproxy/internal/secret"
)

// prompt asks people, one question after the other. Where there are none it
// gathers what is missing, and what is wrong.
type prompt struct {
	ctx    context.Context
	out    io.Writer
	in     *os.File
	people bool // whether somebody answers

	lines   *bufio.Reader
	missing []string
	faults  envfile.Faults
	ended   error
}

func (p *prompt) say(text string) {
	if p.people {
		fmt.Fprintln(p.out, text)
	}
}

// wrong notes that what a flag said cannot be used.
func (p *prompt) wrong(flag string, err error) { p.faults.Add("--"+flag, "%v", err) }

// err is why the answers cannot be used: faults of flags, or that the asking
// has ended.
func (p *prompt) err() error {
	switch {
	case p.ended != nil:
		return p.ended
	case len(p.faults) > 0:
		return p.faults
	}
	return nil
}

// text asks for what flag has not said, until judge finds it right.
func (p *prompt) text(flag, question string, into *string, judge func(string) error) {
	if *into = strings.TrimSpace(*into); *into != "" {
		if err := judge(*into); err != nil {
			p.wrong(flag, err)
		}
		return
	}
	p.until(flag, question, func() (string, error) {
		answer, err := p.line()
		*into = answer
		return answer, err
	}, func() error { return judge(*into) })
}

// hidden asks for a secret, which is not shown.
func (p *prompt) hidden(flag, question string, into *secret.Text, judge func(secret.Text) error) {
	p.until(flag, question, func() (string, error) {
		answer, err := p.await(func() (string, error) {
			text, err := term.ReadPassword(int(p.in.Fd()))
			fmt.Fprintln(p.out)
			return string(text), err
		})
		*into = secret.New(strings.TrimSpace(answer))
		return strings.TrimSpace(answer), err
	}, func() error { return judge(*into) })
}

// until asks until the answer is right.
func (p *prompt) until(flag, question string, answer func() (string, error), judge func() error) {
	if !p.people {
		p.missing = append(p.missing, "--"+flag)
		return
	}
	for p.ended == nil {
		fmt.Fprintf(p.out, "%s: ", question)
		text, err := answer()
		if err != nil {
			p.ended = err
			return
		}
		if text == "" {
			continue
		}
		wrong := judge()
		if wrong == nil {
			return
		}
		fmt.Fprintf(p.out, "  That %v.\n", wrong)
	}
}

// confirmed asks whether something may be done; no answer is no.
func (p *prompt) confirmed(question string) bool {
	if !p.people || p.ended != nil {
		return false
	}
	fmt.Fprintf(p.out, "%s (yes or no): ", question)
	answer, err := p.line()
	p.ended = err
	return err == nil && (strings.EqualFold(answer, "yes") || strings.EqualFold(answer, "y"))
}

func (p *prompt) line() (string, error) {
	return p.await(func() (string, error) {
		if p.lines == nil {
			p.lines = bufio.NewReader(p.in)
		}
		text, err := p.lines.ReadString('\n')
		return strings.TrimSpace(text), err
	})
}

var errNotAnswered = errors.New("ended before the last answer; nothing was written")

// await waits for read, or for the end of the asking: then the terminal is set
// back to what it was.
func (p *prompt) await(read func() (string, error)) (string, error) {
	was, stateErr := term.GetState(int(p.in.Fd()))
	type answer struct {
		text string
		err  error
	}
	came := make(chan answer, 1)
	go func() { // ends with the input, or with the process
		text, err := read()
		came <- answer{text, err}
	}()
	select {
	case a := <-came:
		if a.err != nil {
			return "", errNotAnswered
		}
		return a.text, nil
	case <-p.ctx.Done():
		if stateErr == nil {
			term.Restore(int(p.in.Fd()), was)
		}
		fmt.Fprintln(p.out)
		return "", errNotAnswered
	}
}
