package shell

import (
	"runtime"
	"time"
)

// trimInterval is the interval at which unused idle workers are stopped.
const trimInterval = 100 * time.Millisecond

// job is a request to run, followed by the requests queued at its runner.
type job struct {
	runner *runner
	req    request
}

// start runs j in an idle worker or a new one. It returns false if the shell is closed.
func (s *Shell) start(j job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.jobs.Add(1)
	if n := len(s.idle); n > 0 {
		s.idle[n-1] <- j // never blocks: the channel of an idle worker is empty
		s.idle[n-1] = nil
		s.idle, s.idleUsed = s.idle[:n-1], true
	} else {
		go s.work(j)
	}
	return true
}

// work is a worker goroutine. A few workers stay idle for further jobs because their stacks have
// already grown to the size that commands need.
func (s *Shell) work(j job) {
	done := false
	defer func() {
		if !done { // the command has called runtime.Goexit
			j.runner.abandon()
			s.jobs.Done()
		}
	}()
	jobs := make(chan job, 1)
	for ok := true; ok; {
		j.runner.work(j.req)
		j = job{}
		if done = !s.becomeIdle(jobs); done {
			return
		}
		j, ok = <-jobs
	}
	done = true
}

// becomeIdle ends the current job. It returns true if the worker must wait for a job on the
// channel, and false if there are enough idle workers.
func (s *Shell) becomeIdle(jobs chan job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs.Done()
	if s.closed || len(s.idle) >= runtime.GOMAXPROCS(0) {
		return false
	}
	s.idle = append(s.idle, jobs)
	if !s.trimPending {
		s.trimPending = true
		time.AfterFunc(trimInterval, s.trimIdle)
	}
	return true
}

// trimIdle stops the idle workers if none was used in the last interval.
func (s *Shell) trimIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trimPending = s.idleUsed && !s.closed; s.trimPending {
		time.AfterFunc(trimInterval, s.trimIdle)
	} else {
		s.stopIdle()
	}
	s.idleUsed = false
}

// stopIdle stops the idle workers. s.mu is held.
func (s *Shell) stopIdle() {
	for _, jobs := range s.idle {
		close(jobs)
	}
	s.idle = nil
}
