package main

import (
	"context"
	"crypto/sha256"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/textfile"
)

// reloaded is what some files hold. They are read again when their content
// changes; a change that cannot be used is logged once, and what was stays.
type reloaded[T any] struct {
	variable string // the setting that names the files
	files    []string
	load     func() (T, error)

	current atomic.Pointer[T]
	stamp   [sha256.Size]byte // of what was loaded last, well or not
}

const reloadEvery = time.Second

// get returns what was loaded last. There must have been a refresh without
// error.
func (r *reloaded[T]) get() T { return *r.current.Load() }

// refresh loads again.
func (r *reloaded[T]) refresh() error {
	r.stamp = r.look()
	value, err := r.load()
	if err == nil {
		r.current.Store(&value)
	}
	return err
}

// look sums up what the files hold now.
func (r *reloaded[T]) look() (sum [sha256.Size]byte) {
	all := sha256.New()
	for _, path := range r.files {
		text, err := textfile.ReadRaw(path)
		if err != nil {
			text = []byte(err.Error())
		}
		one := sha256.Sum256(text)
		all.Write(one[:])
	}
	return [sha256.Size]byte(all.Sum(nil))
}

// watch keeps r up to date until ctx ends.
func (r *reloaded[T]) watch(ctx context.Context, log zerolog.Logger) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if r.look() == r.stamp {
			continue
		}
		if err := r.refresh(); err != nil {
			log.Error().Str("variable", r.variable).Err(err).Msg("the changed file cannot be used; what it held before stays in use")
			continue
		}
		log.Info().Str("variable", r.variable).Msg("the changed file is in use")
	}
}
