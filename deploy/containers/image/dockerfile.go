package main

import (
	"bytes"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// lastStage is the image's configuration as the last stage of a Dockerfile
// says it, with these build arguments. The files that the stage copies are the
// business of root. A directive that is not known is an error, so that none is
// passed over.
func lastStage(text []byte, args map[string]string) (v1.Config, error) {
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return v1.Config{}, err
	}
	stages, _, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		return v1.Config{}, err
	}
	last := stages[len(stages)-1]
	if last.BaseName != "scratch" {
		return v1.Config{}, fmt.Errorf("the last stage begins with %s; only one from scratch can be made without an engine", last.BaseName)
	}
	c := v1.Config{Labels: map[string]string{}, Volumes: map[string]struct{}{}, ExposedPorts: map[string]struct{}{}}
	known := make(map[string]string) // arguments that the stage has named
	for _, command := range last.Commands {
		if arg, is := command.(*instructions.ArgCommand); is {
			for _, a := range arg.Args {
				known[a.Key] = args[a.Key]
			}
			continue
		}
		if words, may := command.(instructions.SupportsSingleWordExpansion); may {
			if err := words.Expand(expander(known)); err != nil {
				return v1.Config{}, err
			}
		}
		if err := take(&c, command); err != nil {
			return v1.Config{}, err
		}
	}
	return c, nil
}

// expander puts in values as a Dockerfile's words ask for them, and takes off
// their quotes.
func expander(values map[string]string) instructions.SingleWordExpander {
	var environ []string
	for name, value := range values {
		environ = append(environ, name+"="+value)
	}
	lex := shell.NewLex('\\')
	return func(word string) (string, error) {
		expanded, unknown, err := lex.ProcessWord(word, shell.EnvsFromSlice(environ))
		for name := range unknown {
			return "", fmt.Errorf("%s is used and is no ARG of the last stage", name)
		}
		return expanded, err
	}
}

// take does what one directive says.
func take(c *v1.Config, command instructions.Command) error {
	switch d := command.(type) {
	case *instructions.CopyCommand:
		if len(d.SourcePaths) != 1 || d.SourcePaths[0] != "/out/" || d.DestPath != "/" {
			return errors.New("the last stage copies something besides /out/ to /")
		}
	case *instructions.EnvCommand:
		for _, pair := range d.Env {
			c.Env = append(c.Env, pair.Key+"="+pair.Value)
		}
	case *instructions.LabelCommand:
		for _, pair := range d.Labels {
			c.Labels[pair.Key] = pair.Value
		}
	case *instructions.ExposeCommand:
		for _, port := range d.Ports {
			c.ExposedPorts[port+"/tcp"] = struct{}{}
		}
	case *instructions.VolumeCommand:
		for _, path := range d.Volumes {
			c.Volumes[path] = struct{}{}
		}
	case *instructions.HealthCheckCommand:
		c.Healthcheck = &v1.HealthConfig{
			Test: d.Health.Test, Interval: d.Health.Interval, Timeout: d.Health.Timeout,
			StartPeriod: d.Health.StartPeriod, Retries: d.Health.Retries,
		}
	case *instructions.UserCommand:
		c.User = d.User
	case *instructions.StopSignalCommand:
		c.StopSignal = d.Signal
	case *instructions.EntrypointCommand:
		c.Entrypoint = d.CmdLine
		return withoutShell(d.PrependShell, "ENTRYPOINT")
	case *instructions.CmdCommand:
		c.Cmd = d.CmdLine
		return withoutShell(d.PrependShell, "CMD")
	default:
		return fmt.Errorf("%s is not understood here", command.Name())
	}
	return nil
}

func withoutShell(needs bool, directive string) error {
	if needs {
		return fmt.Errorf("%s asks for a shell, and the image has none: write it as a list", directive)
	}
	return nil
}
