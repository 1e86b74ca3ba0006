package shell

import (
	"maps"
	"strconv"
)

// State is a session of the shell, as it outlives connections.
type State struct {
	History   []string          // requests, the oldest first; elements are not to be changed
	Variables map[string]string // nil: none
	Dir       string            // within the root, "/" at the beginning
	JSON      bool              // format:json
	Prompt    bool              // prompt:on

	live *live // what it does in this process
}

// saveIn has kept become like s. They share what is not changed in place.
func (s *State) saveIn(kept *State) {
	kept.History, kept.Dir, kept.JSON, kept.Prompt = s.History, s.Dir, s.JSON, s.Prompt
	if !maps.Equal(kept.Variables, s.Variables) {
		kept.Variables = maps.Clone(s.Variables)
	}
}

// copyOf is s for a command to work on.
func (s *State) copyOf() State {
	c := State{Dir: "/"}
	if s.Dir != "" {
		c.Dir = s.Dir
	}
	c.History, c.JSON, c.Prompt = s.History[:len(s.History):len(s.History)], s.JSON, s.Prompt
	c.Variables = maps.Clone(s.Variables)
	return c
}

// remember adds a request to the history.
func (s *State) remember(request string, most int) {
	if most == 0 {
		return
	}
	s.History = append(s.History, request)
	if over := len(s.History) - most; over > 0 {
		s.History = s.History[over:]
	}
}

func (s *State) width() int {
	v := s.Variables["columns"]
	if v == "" {
		return 0
	}
	n, _ := strconv.Atoi(v)
	return max(n, 0)
}
