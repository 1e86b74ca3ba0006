package shell

import (
	"maps"
	"strconv"
	"strings"
)

// State is the state of a session that outlives its connections. Commands access it as
// Call.Session.
type State struct {
	History   []string          // requests, oldest first; elements must not be modified
	Variables map[string]string // may be nil
	Dir       string            // working directory within Options.Root; initially "/"
	JSON      bool              // answers are JSON (format json)
	Prompt    bool              // a prompt follows each answer in text (prompt on)
	Role      Role              // the highest role of the session's clients so far, which delays its eviction

	historyBytes int // of History, in the copy of the runner

	runner *runner // nil until a connection has attached in this process
}

// saveTo copies s to stored, sharing what is never modified in place.
func (s *State) saveTo(stored *State) {
	stored.History, stored.Dir, stored.JSON, stored.Prompt = s.History, s.Dir, s.JSON, s.Prompt
	stored.Role = max(stored.Role, s.Role)
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
	c.Variables, c.Role = maps.Clone(s.Variables), s.Role
	for _, request := range c.History {
		c.historyBytes += len(request)
	}
	return c
}

// Limits of the memory of a session, in bytes.
const (
	maxHistoryBytes   = 16 << 10
	maxVariablesBytes = 16 << 10
)

// addHistory appends a request to the history and drops the oldest beyond limit requests or
// maxHistoryBytes.
func (s *State) addHistory(request string, limit int) {
	if limit == 0 || len(request) > maxHistoryBytes {
		return
	}
	s.History = append(s.History, strings.Clone(request)) // not a part of a larger buffer
	s.historyBytes += len(request)
	drop := max(0, len(s.History)-limit)
	for _, old := range s.History[:drop] {
		s.historyBytes -= len(old)
	}
	for ; s.historyBytes > maxHistoryBytes; drop++ {
		s.historyBytes -= len(s.History[drop])
	}
	if drop > 0 {
		s.History = append(make([]string, 0, len(s.History)-drop+1), s.History[drop:]...) // frees the dropped ones
	}
}

// variablesBytes returns the memory of the variables.
func (s *State) variablesBytes() (n int) {
	for name, value := range s.Variables {
		n += len(name) + len(value)
	}
	return n
}

// size returns the memory of the stored state, in bytes.
func (s *State) size() int {
	n := s.variablesBytes() + 64*len(s.Variables) + len(s.Dir)
	for _, request := range s.History {
		n += len(request) + 16
	}
	return n
}

// isFresh reports whether the session has nothing that a client could miss: no request has changed
// it since it was created.
func (s *State) isFresh() bool {
	return len(s.History) == 0 && len(s.Variables) == 0 && (s.Dir == "" || s.Dir == "/") && !s.JSON && !s.Prompt
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
