package shell

import (
	"runtime"
	"time"
)

// restTime is how often it is seen to that workers do not wait for nothing.
const restTime = 100 * time.Millisecond

// job is a session whose turn it is to run a request, and those that wait behind it.
type job struct {
	lv *live
	r  request
}

// start has a worker run j: one that waits, or a new one. false: the shell is closed.
func (s *Shell) start(j job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.jobs.Add(1)
	if n := len(s.idle); n > 0 {
		s.idle[n-1] <- j // which has room for it
		s.idle[n-1] = nil
		s.idle, s.used = s.idle[:n-1], true
	} else {
		go s.work(j)
	}
	return true
}

// work is a worker. Its stack has grown to what commands need, so a few wait for more of them.
func (s *Shell) work(j job) {
	done := false
	defer func() {
		if !done { // a command has ended the goroutine
			j.lv.abandon()
			s.jobs.Done()
		}
	}()
	more := make(chan job, 1)
	for ok := true; ok; {
		j.lv.work(j.r)
		j = job{}
		if done = !s.rest(more); done {
			return
		}
		j, ok = <-more
	}
	done = true
}

// rest notes that a job is done. true: the worker is to wait for another one.
func (s *Shell) rest(more chan job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs.Done()
	if s.closed || len(s.idle) >= runtime.GOMAXPROCS(0) {
		return false
	}
	s.idle = append(s.idle, more)
	if !s.tidied {
		s.tidied = true
		time.AfterFunc(restTime, s.tidy)
	}
	return true
}

// tidy ends the workers that wait if none was needed for a time.
func (s *Shell) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tidied = s.used && !s.closed; s.tidied {
		time.AfterFunc(restTime, s.tidy)
	} else {
		s.dismiss()
	}
	s.used = false
}

// dismiss ends the workers that wait. s.mu is held.
func (s *Shell) dismiss() {
	for _, w := range s.idle {
		close(w)
	}
	s.idle = nil
}
