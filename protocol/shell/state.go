package shell

import (
	"maps"
	"strconv"
)

// State is the state of a session that outlives its connections. Commands access it as
// Call.Session.
type State struct {
	History   []string          // requests, oldest first; elements must not be modified
	Variables map[string]string // may be nil
	Dir       string            // working directory within Options.Root; initially "/"
	JSON      bool              // answers are JSON (format json)
	Prompt    bool              // a prompt follows each answer in text (prompt on)

	runner *runner // nil until a connection has attached in this process
}

// saveTo copies s to stored, sharing what is never modified in place.
func (s *State) saveTo(stored *State) {
	stored.History, stored.Dir, stored.JSON, stored.Prompt = s.History, s.Dir, s.JSON, s.Prompt
	if !maps.Equal(stored.Variables, s.Variables) {
		stored.Variables = maps.Clone(s.Variables)
	}
}

// workingCopy returns a copy of s that commands can modify without the session's lock.
func (s *State) workingCopy() State {
	c := State{Dir: "/"}
	if s.Dir != "" {
		c.Dir = s.Dir
	}
	c.History, c.JSON, c.Prompt = s.History[:len(s.History):len(s.History)], s.JSON, s.Prompt
	c.Variables = maps.Clone(s.Variables)
	return c
}

// addHistory appends a request to the history and drops the oldest beyond limit.
func (s *State) addHistory(request string, limit int) {
	if limit == 0 {
		return
	}
	s.History = append(s.History, request)
	if over := len(s.History) - limit; over > 0 {
		s.History = s.History[over:]
	}
}

// width returns the largest number of characters in a line of text, from the variable "columns". 0
// is no limit.
func (s *State) width() int {
	v := s.Variables["columns"]
	if v == "" {
		return 0
	}
	n, _ := strconv.Atoi(v)
	return max(n, 0)
}
