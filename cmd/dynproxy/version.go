package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is set by the linker for a release: -X main.release=v1.2.3.
var release = "development"

func (w *cli) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print version, commit and Go version",
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(w.stdout, "dynproxy %s, commit %s, %s %s/%s\n", release, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// revision is set by the linker where the build has no version control: -X main.revision=...
var revision string

func commit() string {
	if revision != "" {
		return revision
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	found, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			found = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " (modified)"
		}
	}
	return found + dirty
}
