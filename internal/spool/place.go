package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	memoryOfOne = 1 << 20   // bytes of one body held in memory
	memoryMax   = 64 << 20  // bytes of all bodies held in memory
	uncounted   = 32 << 10  // bytes that any body may hold in memory: no more than its connection does
	largest     = 128 << 20 // bytes of one body held in all: what Dataverse takes for a file

	checkEvery = 5 * time.Second
	filePrefix = "dynproxy-spool-"
)

// File is what a body is kept in. Nobody else has a name for it, and it is gone when it is closed.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// Place is where bodies are kept. Its fields must not change once it is used; it may be used by several goroutines.
type Place struct {
	Dir string // of the files; "" for the system's own
	Max int64  // bytes of all files together, at first: see SetMax; 0 for no bound

	Memory int64                // bytes of one body that stay in memory; 0 for 1 MiB
	Each   int64                // bytes that are kept of one body; 0 for 128 MiB
	Open   func() (File, error) // makes a file; nil for a nameless one in Dir

	changed atomic.Pointer[int64] // what Max is now

	inMemory, onDisk room
	full, failed     atomic.Uint64 // bodies for which there was no room: within Max, on the disk

	checking sync.Mutex // guards what follows
	checked  time.Time
	fault    error
}

// SetMax bounds all files together anew. Those that are there stay.
func (p *Place) SetMax(bytes int64) { p.changed.Store(&bytes) }

func (p *Place) most() int64 {
	if changed := p.changed.Load(); changed != nil {
		return *changed
	}
	return p.Max
}

// Spool returns an empty spool of the place.
func (p *Place) Spool() Spool { return Spool{place: p} }

// Largest returns how many bytes are kept of one body at the most.
func (p *Place) Largest() int64 {
	if p.Each > 0 {
		return p.Each
	}
	return largest
}

func (p *Place) memory() int64 {
	if p.Memory > 0 {
		return p.Memory
	}
	return memoryOfOne
}

func (p *Place) open() (File, error) {
	if p.Open != nil {
		return p.Open()
	}
	f, err := os.CreateTemp(p.Dir, filePrefix+"*")
	if err != nil {
		return nil, err
	}
	// Where an open file cannot be removed, Close does it.
	if os.Remove(f.Name()) != nil {
		return named{f}, nil
	}
	return f, nil
}

// named is a file that goes when it is closed.
type named struct{ *os.File }

func (n named) Close() error {
	return errors.Join(n.File.Close(), os.Remove(n.Name()))
}

// Clean removes what a process left that ended in a hurry. What others use at this moment has no name, or cannot be
// removed.
func (p *Place) Clean() {
	left, _ := filepath.Glob(filepath.Join(p.Path(), filePrefix+"*")) // the pattern is well-formed
	for _, path := range left {
		os.Remove(path)
	}
}

// Path returns the directory in which files are made.
func (p *Place) Path() string {
	if p.Dir != "" {
		return p.Dir
	}
	return os.TempDir()
}

// refused counts a body for which there was no room, and makes a *Fault of the reason.
func (p *Place) refused(err error) error {
	if errors.Is(err, ErrFull) {
		p.full.Add(1)
	} else {
		p.failed.Add(1)
	}
	return &Fault{"keep", err}
}

// State is what operators are told of a place. It names no path: whoever asks whether the proxy is ready may see it.
type State struct {
	State   string `json:"state"` // "ok", "full" or "fault": bodies that are too large for memory go once
	Used    int64  `json:"used_bytes"`
	Max     int64  `json:"max_bytes,omitempty"`
	Refused uint64 `json:"refused"`         // bodies that found no room
	Fault   string `json:"fault,omitempty"` // why nothing can be written there now
}

// State tries the place, no more than once in a few seconds, and returns how it stands.
func (p *Place) State() State {
	s := State{State: "ok", Used: p.onDisk.used.Load(), Max: p.most(), Refused: p.full.Load() + p.failed.Load()}
	if s.Max > 0 && s.Used > s.Max-p.memory() {
		s.State = "full"
	}
	if err := p.Check(); err != nil {
		s.State, s.Fault = "fault", err.Error()
		if path, is := errors.AsType[*fs.PathError](err); is {
			s.Fault = path.Op + ": " + path.Err.Error()
		}
	}
	return s
}

// Check writes a few bytes, reads them back, and returns what is wrong with the place. What it found holds for some
// seconds.
func (p *Place) Check() error {
	p.checking.Lock()
	defer p.checking.Unlock()
	if p.checked.IsZero() || time.Since(p.checked) > checkEvery {
		p.fault = p.try()
		p.checked = time.Now()
	}
	return p.fault
}

func (p *Place) try() error {
	f, err := p.open()
	if err != nil {
		return err
	}
	defer f.Close()
	wrote, read := []byte(filePrefix), make([]byte, len(filePrefix))
	if _, err := f.WriteAt(wrote, 0); err != nil {
		return err
	}
	if _, err := f.ReadAt(read, 0); err != nil || string(read) != filePrefix {
		return fmt.Errorf("what was written cannot be read back: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}

// Metrics returns what the place shows of itself.
func (p *Place) Metrics() []prometheus.Collector {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	refused := func(reason string, n *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "dynproxy_spool_refused_total", Help: "Request bodies that could not be kept: SPOOL_MAX was reached (full), or the disk failed (disk).",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(n.Load()) })
	}
	return []prometheus.Collector{
		gauge("dynproxy_spool_bytes", "Bytes of request bodies that are kept in SPOOL_DIR.", func() float64 { return float64(p.onDisk.used.Load()) }),
		gauge("dynproxy_spool_memory_bytes", "Bytes of request bodies that are kept in memory, those of up to 32 KiB left out.", func() float64 { return float64(p.inMemory.used.Load()) }),
		gauge("dynproxy_spool_max_bytes", "SPOOL_MAX; 0 for no bound.", func() float64 { return float64(p.most()) }),
		refused("full", &p.full), refused("disk", &p.failed),
	}
}

// room is a number of bytes that several share.
type room struct{ used atomic.Int64 }

// take takes n bytes if no more than bound are used then; 0 is no bound.
func (r *room) take(n, bound int64) bool {
	if used := r.used.Add(n); bound > 0 && used > bound {
		r.used.Add(-n)
		return false
	}
	return true
}

func (r *room) giveBack(n int64) { r.used.Add(-n) }
