package limits

import "time"

// losses is made where there was a refusal: most budgets see none.
type losses struct {
	slidingWindow
	from time.Duration // admission of the call that was refused; zero: another proxy's
}

// lose counts what was sent with a call that got no answer.
func (m *budgetCounter) lose(now, started time.Duration, amount uint64) {
	if m.holds() == 0 {
		m.lost = nil
		return
	}
	if m.lost == nil {
		m.lost = m.noLosses(0)
	}
	if started >= m.lost.from { // else the refusal has it in its count
		m.lost.add(now, amount)
	}
}

func (m *budgetCounter) noLosses(from time.Duration) *losses {
	return &losses{newSlidingWindow(m.span(), m.n), from}
}

// lostNow is what was lost as far as the window still holds it.
func (m *budgetCounter) lostNow(now time.Duration) float64 {
	if m.lost == nil {
		return 0
	}
	m.lost.advance(now)
	return float64(m.lost.sum)
}
