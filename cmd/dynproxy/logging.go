package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"dynproxy/internal/envfile"
	"dynproxy/internal/logfile"
)

// LogSettings are those of the log. Exported, since they are read by name.
type LogSettings struct {
	LogLevel    string        `env:"LOG_LEVEL" envDefault:"info"`
	LogFormat   string        `env:"LOG_FORMAT"`
	LogFile     string        `env:"LOG_FILE"`
	LogFileSize envfile.Bytes `env:"LOG_FILE_SIZE" envDefault:"100MB"`
	LogFileKeep int           `env:"LOG_FILE_KEEP" envDefault:"10"`
}

// levels are those that may be set: above them errors would be lost.
var levels = []string{"trace", "debug", "info", "warn", "error"}

func (c *config) readLog(faults *envfile.Faults) {
	level, err := zerolog.ParseLevel(strings.ToLower(c.LogLevel))
	if err != nil || !slices.Contains(levels, level.String()) || level.String() != strings.ToLower(c.LogLevel) {
		faults.Add(prefix+"LOG_LEVEL", "must be one of %s", strings.Join(levels, ", "))
	}
	c.level, c.verbosity = level, newVerbosity(level)
	if !slices.Contains([]string{"", "json", "console"}, c.LogFormat) {
		faults.Add(prefix+"LOG_FORMAT", "must be json or console")
	}
	if c.LogFileSize < 1<<20 || c.LogFileSize > 1<<40 {
		faults.Add(prefix+"LOG_FILE_SIZE", "must lie between 1MB and 1TB, such as 100MB")
	}
	if c.LogFileKeep < 1 || c.LogFileKeep > logfile.MostKept {
		faults.Add(prefix+"LOG_FILE_KEEP", "must lie between 1 and %d: how many files that are full are kept", logfile.MostKept)
	}
}

// checkLogFile tells of a log file that cannot be kept.
func (c *config) checkLogFile(faults *envfile.Faults) {
	if c.LogFile == "" {
		return
	}
	if err := logfile.Check(c.LogFile); err != nil {
		faults.Add(prefix+"LOG_FILE", "cannot be used: %v", err)
	}
}

// logOutput is where the lines of a server go: stdout, or the log file where
// one is set. What is wrong with the file is told elsewhere, and on stderr when
// it comes later.
func logOutput(cfg *config, stdout, stderr io.Writer) (out io.Writer, end func()) {
	if cfg.LogFile == "" {
		return stdout, func() {}
	}
	f := logfile.New(cfg.LogFile, int64(cfg.LogFileSize), cfg.LogFileKeep, stderr)
	return f, func() { f.Close() }
}

// newLog returns the one logger of the process, which writes to out. Whether
// that is for people's eyes, shown says: out itself or what stands behind it.
func newLog(cfg *config, shown, out io.Writer) zerolog.Logger {
	if p, is := shown.(*printer); is {
		shown = p.out
	}
	f, isFile := shown.(*os.File)
	terminal := isFile && isatty.IsTerminal(f.Fd())
	if cfg.LogFormat == "console" || cfg.LogFormat == "" && terminal {
		console := zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly, NoColor: os.Getenv("TERM") == "dumb"}
		if !terminal { // it is kept, and read by programs too
			console.NoColor, console.TimeFormat = true, "2006-01-02 15:04:05.000"
		}
		out = console
	}
	return zerolog.New(out).Sample(cfg.verbosity).With().Timestamp().Logger()
}
