package limits

import "slices"

// slots hold the amounts of a window's slices. A few are a list and many a
// ring: most of many tenants are called now and then.
type slots struct {
	few  []slot    // those that hold something, in no order
	ring *[]uint32 // of all places, instead of few; nil while these will do
}

type slot struct{ place, amount uint32 }

// mostFew is how many take less memory as a list, and are quickly looked through.
const mostFew = 8

func (s *slots) find(place int) int {
	return slices.IndexFunc(s.few, func(one slot) bool { return one.place == uint32(place) })
}

// at is what a place holds.
func (s *slots) at(place int) uint32 {
	if s.ring != nil {
		return (*s.ring)[place]
	}
	if i := s.find(place); i >= 0 {
		return s.few[i].amount
	}
	return 0
}

// take is at, and empties the place.
func (s *slots) take(place int) uint32 {
	amount := s.at(place)
	switch {
	case amount == 0:
	case s.ring != nil:
		(*s.ring)[place] = 0
	default:
		i, last := s.find(place), len(s.few)-1
		s.few[i] = s.few[last]
		s.few = s.few[:last]
	}
	return amount
}

// set makes one of all places hold an amount, which is not zero.
func (s *slots) set(place int, amount uint32, all int) {
	if s.ring == nil {
		if i := s.find(place); i >= 0 {
			s.few[i].amount = amount
			return
		}
		if len(s.few) < min(mostFew, all) {
			s.few = append(s.few, slot{uint32(place), amount})
			return
		}
		ring := make([]uint32, all)
		for _, one := range s.few {
			ring[one.place] = one.amount
		}
		s.few, s.ring = nil, &ring
	}
	(*s.ring)[place] = amount
}
