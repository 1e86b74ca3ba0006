package pubsub

import (
	"iter"
	"maps"
	"slices"
)

// subscriptionSet holds the subscriptions of a session by their names. Most sessions have a few,
// for which a slice needs much less memory than a map. The zero value is an empty set.
type subscriptionSet struct {
	few  []*subscription          // at most maxFew; nil if many is set
	many map[string]*subscription // nil if few is used
}

// maxFew is the number of subscriptions up to which a search of the slice is as fast as a map.
const maxFew = 8

func (s *subscriptionSet) len() int { return len(s.few) + len(s.many) }

// get returns the subscription to a topic; nil if there is none.
func (s *subscriptionSet) get(name string) *subscription {
	if s.many != nil {
		return s.many[name]
	}
	if i := s.indexOf(name); i >= 0 {
		return s.few[i]
	}
	return nil
}

func (s *subscriptionSet) indexOf(name string) int {
	return slices.IndexFunc(s.few, func(sn *subscription) bool { return sn.topic.name == name })
}

// add adds a subscription to a topic to which there is none.
func (s *subscriptionSet) add(sn *subscription) {
	if s.many == nil && len(s.few) < maxFew {
		s.few = append(s.few, sn)
		return
	}
	if s.many == nil {
		s.many = make(map[string]*subscription, 2*maxFew)
		for _, sn := range s.few {
			s.many[sn.topic.name] = sn
		}
		s.few = nil
	}
	s.many[sn.topic.name] = sn
}

// remove removes the subscription to a topic, if there is one.
func (s *subscriptionSet) remove(name string) {
	if s.many != nil {
		delete(s.many, name)
		return
	}
	if i := s.indexOf(name); i >= 0 {
		s.few = slices.Delete(s.few, i, i+1)
	}
}

func (s *subscriptionSet) all() iter.Seq[*subscription] {
	if s.many != nil {
		return maps.Values(s.many)
	}
	return slices.Values(s.few)
}
