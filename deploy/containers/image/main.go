// Command image makes the container image without an engine: one OCI archive
// for all platforms, from programs that are built already and the last stage
// of the Dockerfile. The same input gives the same bytes.
//
//	image -dockerfile F -release v1.2.3 -revision 0123456789ab -time 1790000000 -o OUT amd64=PROGRAM arm64=PROGRAM
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "image: %v\n", err)
		os.Exit(1)
	}
}

// order is what to make.
type order struct {
	dockerfile string
	release    string // v1.2.3
	revision   string
	at         time.Time // of every file and of the image
	out        string
	programs   []program
}

// program is the path of one that is built for linux and an architecture.
type program struct{ arch, path string }

func run(args []string) error {
	o, err := read(args)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(o.dockerfile)
	if err != nil {
		return err
	}
	config, err := lastStage(text, map[string]string{"RELEASE": o.release, "REVISION": o.revision})
	if err != nil {
		return fmt.Errorf("%s: %w", o.dockerfile, err)
	}
	index, err := o.index(config)
	if err != nil {
		return err
	}
	return archive(index, o.version(), o.at, o.out)
}

func read(args []string) (order, error) {
	var o order
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&o.dockerfile, "dockerfile", "", "whose last stage says what the image is")
	flags.StringVar(&o.release, "release", "", "such as v1.2.3")
	flags.StringVar(&o.revision, "revision", "unknown", "the commit")
	seconds := flags.Int64("time", 0, "of all files, in seconds since 1970")
	flags.StringVar(&o.out, "o", "", "the archive to write")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.at = time.Unix(*seconds, 0).UTC()
	for _, arg := range flags.Args() {
		arch, path, ok := strings.Cut(arg, "=")
		if !ok {
			return o, fmt.Errorf("%q is not ARCHITECTURE=PROGRAM, such as %s=./dynproxy", arg, runtime.GOARCH)
		}
		o.programs = append(o.programs, program{arch, path})
	}
	if o.dockerfile == "" || o.release == "" || o.out == "" || len(o.programs) == 0 {
		return o, errors.New("needs -dockerfile, -release, -o and a program")
	}
	return o, nil
}

// version is the release as image tags have it, without the v.
func (o order) version() string { return strings.TrimPrefix(o.release, "v") }
