package limits

import (
	"iter"
	"maps"
	"slices"
)

// shares are those of one ledger, by caller. A few are a list: most tenants
// have one caller, for whom a map is large.
type shares struct {
	few  []*share
	many map[string]*share // instead of few; nil while these will do
}

// of returns the caller's share, nil if there is none.
func (s *shares) of(caller string) *share {
	if s.many != nil {
		return s.many[caller]
	}
	for _, one := range s.few {
		if one.caller == caller {
			return one
		}
	}
	return nil
}

func (s *shares) add(one *share) {
	if s.many == nil && len(s.few) < mostFew {
		s.few = append(s.few, one)
		return
	}
	if s.many == nil {
		s.many = make(map[string]*share)
		for _, other := range s.few {
			s.many[other.caller] = other
		}
		s.few = nil
	}
	s.many[one.caller] = one
}

func (s *shares) drop(drops func(*share) bool) {
	s.few = slices.DeleteFunc(s.few, drops)
	maps.DeleteFunc(s.many, func(_ string, one *share) bool { return drops(one) })
}

// all yields every share, in no order.
func (s *shares) all() iter.Seq[*share] {
	if s.many != nil {
		return maps.Values(s.many)
	}
	return slices.Values(s.few)
}

func (s *shares) len() int { return len(s.few) + len(s.many) }
