package limits

import (
	"context"
	"errors"
	"time"
)

// Store keeps the budget of each key for the gates of several proxies. A gate
// tells it now and then what it has used and what it wants, and may then admit
// as much as it is granted; calls do not wait for that while something is left
// of the last grant.
type Store interface {
	// Exchange tells what this gate did and wants of key's budget, and returns
	// what it may do, within a quarter of a second. One key has one exchange at a time. An error that wraps
	// ErrApart is not worth a second try.
	Exchange(ctx context.Context, key Key, r *Statement) (*Grant, error)
	// Size is how many proxies share, this one included, at least 1.
	Size() int
}

// ErrApart says that the store is known to be of no use at the moment.
var ErrApart = errors.New("the shared budget cannot be used")

// Report is what a gate tells a Store of one key. All sums are of what was ever
// counted, so that a statement that is lost or told twice does no harm.
type Statement struct {
	Sequence   int64  // grows with each report; an older one that comes late has no effect
	Generation string // of the last Grant; empty: the whole window is in Settled

	// Clock is that of the last Grant; between After and Before have passed
	// since. It keeps a step of the store's clock from emptying windows.
	Clock         time.Duration
	After, Before time.Duration

	Span             time.Duration // of the window
	Requests, Millis uint64        // settled, ever
	Settled          []Amount      // what the store has not confirmed, the oldest first
	InFlight         int           // that will be settled
	Pocket           int           // granted, and not used
	Pending          float64       // milliseconds of what is in flight, estimated
	Guess            float64       // milliseconds to set aside for one more
	Rate             float64       // requests a second; zero: no limit
	Burst            int

	Limit, MillisLimit float64 // in force, as far as it may be used now; +Inf: none
	Testing            bool    // one call may go although what is left is kept for others

	// Requests that are wanted: for calls that wait, and for those that will soon
	// come. The reserved ones are for callers for whom some are kept back.
	Need, Want                 int
	NeedReserved, WantReserved int

	Kept    float64       // requests that others leave to this gate's callers
	KeptFor time.Duration // for which that holds, whether or not this gate is heard of again
	Weight  float64       // sum of the callers that were here lately
	Waiting []Waiting     // the callers that wait

	InUse       int // places
	Places      int // that this gate holds
	PlacesWant  int
	PlacesLimit int // of all gates

	// Among is how many gates there were when this one began to go by its share;
	// zero: it does not. Away is how long ago that was, until the store is heard.
	Among int
	Away  time.Duration

	Learned  []byte // news about the limits, for the other gates; nil: none
	Learning int64  // number of the news that this gate knows
}

// Amount is what was settled in one instant.
type Amount struct {
	Age              time.Duration
	Requests, Millis uint64
}

// Waiting is a caller that waits.
type Waiting struct {
	Caller uint32 // hash of the name
	Weight float64
}

// Grant is what a gate may do until it has asked again.
type Grant struct {
	Generation string
	Clock      time.Duration // of the store

	// Unknown says that the store has nothing of this gate: the report must be
	// told again, with the whole window. Young says that the store has lost what
	// it knew and does not know yet what others have used.
	Unknown, Young bool

	Requests int // more than the Pocket of the report
	Reserved int // likewise, for callers for whom some are kept back
	Places   int // in all
	Target   int // places that this gate shall come down to; not more than Places

	// Of all gates. What is held may have been used, and is not counted yet.
	Sum, Millis        float64 // counted in the window
	HeldByOthers       float64 // requests
	MillisHeldByOthers float64
	PlacesHeldByOthers int
	PlacesUsedByOthers int
	WeightOfOthers     float64
	Gates              []int // at how many gates each of the report's Waiting waits
	Ring               Ring
	Edge               time.Duration // until something leaves the window
	Short              bool          // somebody waits who could not be served
	Learned            []byte        // newer than what this gate knows; nil: nothing
	Learning           int64
}

// Ring is the window of all gates: slices of Width by the store's clock, slice n
// at n modulo ringSlices. Each has eight bytes, the most significant first: four
// of the requests, four of the milliseconds. What is missing at the end is zero.
type Ring struct {
	Width  time.Duration
	Newest int64 // number of the slice
	Bytes  string
}

// ringSlices is how many slices a Ring has: one more than a window.
const ringSlices = windowSlices + 1
