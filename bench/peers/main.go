// Command peers compares the proxy with nginx, HAProxy, Caddy and a bare
// httputil.ReverseProxy that do the same work before the same organization:
// processor time a call, the time that a call takes longer, and memory.
//
//	go -C bench run ./peers                        # everything; half an hour
//	go -C bench run ./peers -stages 1k,post -rounds 9
//
// Peers take turns in every round, and what is printed are medians and
// quartiles of the ratios of a round: absolute times of a shared machine say
// nothing. A second nginx shows how far equal things differ. Before each stage
// the answers of all are compared byte for byte.
//
// It needs Linux, nginx and haproxy. Caddy is built at a fixed version through
// Go's module proxy. All goes over loopback, and ends with this program.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// plan says what is measured, and how long.
type plan struct {
	stages []string // empty for all
	rounds int
	short  bool // shows that it works; the figures mean nothing
	out    io.Writer
}

func main() {
	var p plan
	stages := flag.String("stages", "", "measure only these, separated by commas: "+strings.Join(stageNames(), ", "))
	flag.IntVar(&p.rounds, "rounds", 15, "how often all take their turn")
	flag.BoolVar(&p.short, "short", false, "show that it works, in a minute; the figures then mean nothing")
	organization := flag.String("organization", "", "serve as the organization, writing address and CA into this `directory`")
	bare := flag.Bool("bare", false, "serve as the bare ReverseProxy; -listen, -to and -ca belong to it")
	listen, to, ca := flag.String("listen", "", ""), flag.String("to", "", ""), flag.String("ca", "", "")
	flag.Parse()
	var err error
	switch {
	case *organization != "":
		err = serveOrganization(*organization)
	case *bare:
		err = serveBare(*listen, *to, *ca)
	default:
		p.out = os.Stdout
		if *stages != "" {
			p.stages = strings.Split(*stages, ",")
		}
		err = p.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// stage is one thing that is measured. It adds its rows to the table.
type stage struct {
	name string
	run  func(*field, *table) error
}

// stages are those of processor time, and the others.
func stages() []stage {
	var all []stage
	for _, w := range works {
		all = append(all, stage{w.name, func(f *field, t *table) error { return f.compare(w, t) }})
	}
	return append(all,
		stage{"latency", (*field).latency},
		stage{"memory", (*field).memory},
		stage{"tenants", (*field).tenants},
	)
}

func stageNames() []string {
	var names []string
	for _, s := range stages() {
		names = append(names, s.name)
	}
	return names
}

func (p plan) run() error {
	for _, name := range p.stages {
		if !slices.Contains(stageNames(), name) {
			return fmt.Errorf("there is no stage %q, only %s", name, strings.Join(stageNames(), ", "))
		}
	}
	if p.short {
		p.rounds = 1
	}
	f, err := open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	t := &table{short: p.short}
	for _, s := range stages() {
		if len(p.stages) > 0 && !slices.Contains(p.stages, s.name) {
			continue
		}
		began := time.Now()
		if err := s.run(f, t); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, time.Since(began).Round(time.Second))
	}
	fmt.Fprintf(p.out, "%s, %d rounds\n\n", time.Now().UTC().Format(time.DateOnly), p.rounds)
	t.print(p.out)
	fmt.Fprintln(p.out)
	for _, peer := range f.peers {
		fmt.Fprintf(p.out, "- %s: %s\n", peer.name, peer.does)
	}
	return nil
}
