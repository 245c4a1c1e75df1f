// Package limits keeps the calls of all callers within the budget that an
// organization grants one application user: so many requests and so much
// execution time in a sliding window, so many requests at once. A Gate is told
// the budget of each key when it changes. A call enters with who it is and how
// long it may wait, and on its way out tells what the organization's answer
// said about the budget. The package knows no HTTP.
//
// # What is measured
//
// Our own use, exactly: a request counts from its admission until one window
// after its answer's end, so whenever the organization counted it, our sum is
// never less than its own. Execution time of what is in flight is estimated.
// What others use of the same budget, and what the limits really are, is
// inferred from answers:
//
//   - A refusal that names a number says what the limit is. Nothing that
//     rate-limit headers promise goes beyond it.
//   - A refusal of a call before which we had used less than the limit says
//     that others use the rest.
//   - A rate-limit header says what remains, which with our own count is what
//     others use, or what is granted beyond the limit that we started from.
//     It leaves an interval, since calls are in flight: within that nothing
//     changes (budgetCounter.remains).
//   - What was served found room, whatever was refused (ceiling.proves).
//
// A number that an operator set is never exceeded, whatever is inferred.
//
// # What keeps learning from locking
//
// All that refusals make us hold back is in a backoff, and has one law: what
// is held back, times how long it is left untested, is at most a sixteenth of
// a window's budget. Then one call is risked, then two, four and so on while
// they are answered, so that within a few round trips all is used again. Each
// constant keeps one side of that:
//
//   - testShare: the law. Without it an outage of many refusals is remembered
//     for longer than it lasted. A test of places that fails closes the gate
//     for Retry-After, and of the time too a sixteenth may be lost to that:
//     others may hold places for good, while what was spent comes back.
//   - firstPause: the first pause is a sixteenth of what the law allows, and
//     doubles with each refusal in a row, so that one whim costs nothing.
//   - longestPause: little that is held back may stay so for longer, since each
//     test costs a refusal; but the organization's servers, strangers and
//     limits change.
//   - namedPause: a number named below the one that was set is tested twice a
//     window. Tested oftener it costs refusals that teach nothing; untested, a
//     limit that was low for a while stays low for ever. While as much as it
//     names is really served, the number is proven, and the pause doubles.
//   - headroom: others may be quicker than their traces in the headers. Each
//     refusal in spite of these leaves a hundredth more to them.
//   - longestWindow: one odd answer does not spread a budget over days.
//
// Beside these stands the cooldown: Retry-After is obeyed, and the gate opens
// softly after it. Places are not used up as the others are: while half of them
// are free to use they carry a window's budget, and only longestPause binds.
//
// # Several gates, one budget
//
// With a Store a gate spends a budget together with those of other proxies. It
// stays the gate: queue, fairness, forecast and lessons are as they are alone.
// But room is what lies in its pocket (sharing), which exchanges fill beside the
// calls (exchange.go): a Statement of what was done and is wanted, and a Grant.
// What is compared with an organization's word is the use of all gates. Where the
// Store cannot be used a gate keeps to its part of what it knows to be left
// (apart). What answers teach is told on (lessons). That this never grants more
// than there is, and loses nothing for long, internal/cluster tests with the
// real store: TestTheSharedBudgetAgainstTheTruth, TestThreeProxiesAreAsFastAsOne,
// TestSharesGoByCallersWhereverTheyConnect, TestWhatOneProxyLearnsAllKnow,
// TestWithoutRedisEachKeepsItsShare.
//
// # What holds each rule
//
// Each of these fails when its rule is removed. The simulations of refusals that
// end (TestRefusalsThatEndAreForgottenWithinAWindow) and of random organizations,
// beside one who knows the truth (TestRandomOrganizationsAgainstTheTruth), hold
// the whole.
//
// Pauses:
//   - testShare, of a budget: TestOneRefusalCostsNoMoreThanItAsks,
//     TestPausesKeepTheLaw; of time: TestPlacesThatOthersHoldForGoodCostLittle.
//   - firstPause, and one burst for one piece of news:
//     TestABurstOfRefusalsIsOnePieceOfNews.
//   - Refusals that lie far apart are no row: TestRefusalsFarApartAreNoRow.
//   - longestPause, of a proven number too: TestPausesKeepTheLaw; of places:
//     TestPlacesThatOthersHoldForGoodCostLittle.
//   - namedPause, longer for a number that is proven:
//     TestWrongSettingsAreCorrectedByTheOrganization; for places that are:
//     TestProvenPlacesAreTestedSeldom.
//   - headroom: TestForeignClientThatEatsHalfTheBudget.
//   - What others used is forgotten at rest: TestRestForgetsWhatOthersUsed.
//
// Numbers:
//   - An operator's number is a ceiling: TestWhatAnOperatorSetIsACeiling, from
//     the moment that it is set: TestANewCeilingHoldsBesideAnOldGift.
//   - A number named below what was served is too low:
//     TestANumberBelowWhatWasServedIsTooLow.
//   - A later refusal that names more ends the doubt of one that named less:
//     TestALaterGreaterNumberLeavesNoDoubt.
//   - What is served is proof (proves): TestOneRefusalCostsNoMoreThanItAsks;
//     and lifts a number that was named (settle), as what is answered does:
//     TestRefusalsThatEndAreForgottenWithinAWindow, which holds longestWindow too.
//   - What was served within a gift is none: TestWhatAGiftLetInIsNoProof.
//
// Headers:
//   - They lead no further than a named number:
//     TestANumberInARefusalOutranksHeaders.
//   - Their last word would bind for ever: TestWhatHeadersSaidIsForgottenAfterAWindow.
//   - Between least and most nothing changes; what fades is not in least:
//     TestKnownLimitsAreNeverExceeded. A hundredth below most neither (slack):
//     TestWrongSettingsAreCorrectedByTheOrganization.
//   - A call of more than a quarter of a window says nothing of now:
//     TestASlowCallsHeadersSayNothingOfOthers.
//   - Where nothing is left one call may ask anew, sixteen times a window:
//     TestWrongSettingsAreCorrectedByTheOrganization,
//     TestForeignClientThatEatsHalfTheBudget.
//
// Who goes when:
//   - What is set aside for a call is no more than a window has (guess):
//     TestACallOfMoreThanAWindowsTimeGoesAlone.
//   - Age in flight beyond the usual counts for half of the execution time at
//     most: TestUnansweredCallsLeaveExecutionTimeToOthers.
//   - Whoever is there tests, whatever is kept for others:
//     TestWhoIsThereTestsForThoseWhoAreNot.
//   - sharePlaces: TestStalledCallersStarveNobody; none is spared of few:
//     TestConcurrencyHoldsThePlaceUntilDone.
//   - Retry-After is believed up to longestCooldown: TestReadRefusal.
//   - A gate opens by one more for each answer: TestGateOpensSoftly; and by the
//     second too: TestASlowCallDoesNotHoldAnOpeningGate.
package limits

import (
	"errors"
	"fmt"
	"time"
)

// Key says whose budget it is: the organization counts for each application
// user, whatever the number of tenants, callers and connections behind it.
type Key struct {
	Organization string // host of the organization
	ClientID     string // application id
}

// Mode says what a Gate does about a budget.
type Mode uint8

const (
	Enforce Mode = iota // wait, and refuse what would wait too long
	Report              // admit at once, count what would have waited
	Off                 // admit at once, count only what is in flight
)

// Budget is what one application user may use. A limit of zero means that
// there is none, until the organization names one.
type Budget struct {
	Rate          float64       // requests a second, on top of the window
	Burst         int           // requests at once under Rate, at least 1
	Requests      int           // in any Window
	Window        time.Duration // zero means 5 minutes
	ExecutionTime time.Duration // summed over all requests in any Window
	Concurrency   int           // requests in flight, until their answers end
	QueueLength   int           // waiting calls of all callers; zero means 1000
	Mode          Mode

	// Fixed says which limits an operator set: ceilings that are not exceeded
	// whatever the organization grants beyond. The others are a start, from
	// which its words lead up and down.
	Fixed Fixed
}

// Fixed names those of a budget's limits that are an operator's own.
type Fixed struct{ Requests, ExecutionTime, Concurrency bool }

const (
	defaultWindow      = 5 * time.Minute
	defaultQueueLength = 1000
)

// normal is b with its defaults filled in.
func (b Budget) normal() Budget {
	if b.Window <= 0 {
		b.Window = defaultWindow
	}
	if b.QueueLength <= 0 {
		b.QueueLength = defaultQueueLength
	}
	b.Burst = max(b.Burst, 1)
	return b
}

// Stricter is the budget that keeps within b and other: of each limit the
// lesser, over the longer window.
func (b Budget) Stricter(other Budget) Budget {
	b, other = b.normal(), other.normal()
	b.Requests, b.Fixed.Requests = lesser(b.Requests, other.Requests), b.Fixed.Requests || other.Fixed.Requests
	b.ExecutionTime, b.Fixed.ExecutionTime = lesser(b.ExecutionTime, other.ExecutionTime), b.Fixed.ExecutionTime || other.Fixed.ExecutionTime
	b.Concurrency, b.Fixed.Concurrency = lesser(b.Concurrency, other.Concurrency), b.Fixed.Concurrency || other.Fixed.Concurrency
	b.Rate, b.Burst = lesser(b.Rate, other.Rate), min(b.Burst, other.Burst)
	b.Window, b.QueueLength = max(b.Window, other.Window), min(b.QueueLength, other.QueueLength)
	b.Mode = min(b.Mode, other.Mode)
	return b
}

// lesser is the lesser of two limits, of which zero is none.
func lesser[T int | float64 | time.Duration](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// LimitKind is one of the organization's three limits.
type LimitKind uint8

const (
	None LimitKind = iota
	Requests
	ExecutionTime
	Concurrency
	limitKinds int = iota
)

// String names the limit for logs and metrics.
func (k LimitKind) String() string {
	switch k {
	case Requests:
		return "requests"
	case ExecutionTime:
		return "execution_time"
	case Concurrency:
		return "concurrency"
	}
	return "none"
}

// Code is the error code with which an organization refuses a request over
// this limit. A refusal that names no limit has the code of Requests.
func (k LimitKind) Code() string {
	switch k {
	case ExecutionTime:
		return "0x80072321"
	case Concurrency:
		return "0x80072326"
	}
	return "0x80072322"
}

// ErrDropped is told to calls that wait when their key is removed.
var ErrDropped = errors.New("budget dropped while waiting")

// ErrUnknown is told to a call of a key that no budget was configured for.
var ErrUnknown = errors.New("no budget is configured")

func (k LimitKind) words() string {
	return map[LimitKind]string{Requests: "requests", ExecutionTime: "execution time", Concurrency: "requests at once"}[k]
}

// Reason is what keeps a call out.
type Reason uint8

const (
	NoReason Reason = iota
	Spent           // the budget is used up, by calls of our own
	Learned         // others use the rest of the budget, as the organization's answers show
	Cooldown        // the organization asked to be left alone for a while
	Share           // the rest is left to other callers
	Rate            // the RATE that an operator set
	reasons  int    = iota
)

// String names the reason for logs and metrics.
func (r Reason) String() string {
	return [reasons]string{"none", "spent", "learned", "cooldown", "share", "rate"}[r]
}

// Full refuses a call that would have to wait longer than it may.
type Full struct {
	Kind       LimitKind
	Reason     Reason
	RetryAfter time.Duration // whole seconds, at least one
}

func (f *Full) Error() string {
	return fmt.Sprintf("%s, try again in %v", f.Why(), f.RetryAfter)
}

// Why says in words what keeps the call out.
func (f *Full) Why() string {
	name := f.Kind.words()
	switch f.Reason {
	case Cooldown:
		return "the organization refused a call for its limit of " + name + " and asked to be left alone for a while"
	case Learned:
		return "the organization's answers show that others use a part of the budget of " + name + ", and what is left is used up"
	case Share:
		return "this caller uses its share of the budget of " + name + "; the rest is left to other callers"
	case Rate:
		return "calls come faster than RATE allows"
	}
	return "the budget of " + name + " is used up"
}
