package bots

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// member is a crew as the coordinator sees it.
type member struct {
	clients int
	orders  io.WriteCloser
	wait    func() error // until it has ended and all that it has told was passed on
	kill    func()
	tokens  int
	ready   int
	lost    int
	up      bool
	settled bool
	final   *final
	dead    error // it has ended before it said Final
}

// event is what a member tells, or, with an error, its end.
type event struct {
	member *member
	news   news
	err    error
}

// hear passes on what a crew tells, until done is closed or there is no more.
func (m *member) hear(in io.Reader, to chan<- event, done <-chan struct{}) {
	d := json.NewDecoder(bufio.NewReaderSize(in, 64<<10))
	for {
		e := event{member: m}
		e.err = d.Decode(&e.news)
		switch {
		case errors.Is(e.err, io.EOF):
			e.err = errors.New("it ended too early")
		case e.err == nil && e.news.Failed != "":
			e.err = errors.New(e.news.Failed)
		}
		select {
		case to <- e:
		case <-done:
		}
		if e.err != nil {
			io.Copy(io.Discard, in) // it must not wait for us
			return
		}
	}
}

func (m *member) order(o order) {
	if m.dead == nil {
		json.NewEncoder(m.orders).Encode(o) // that it has gone shows where it is heard
	}
}

// work runs a crew.
func work(s spec, control *os.File, out io.Writer) error {
	c := newCrew(s, out)
	c.tell(news{Up: true})
	d := bestDriver
	if s.Engine == "goroutines" {
		d = driveGoroutines
	}
	err := d(c, control)
	if err != nil {
		c.tell(news{Failed: err.Error()})
	}
	return err
}

// startHere runs a crew in this process.
func startHere(s spec, to chan<- event, done <-chan struct{}) (*member, error) {
	control, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	heard, tells, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, control.Close(), orders.Close())
	}
	m := &member{clients: s.Clients, orders: orders, kill: func() {}}
	var both sync.WaitGroup
	both.Go(func() {
		work(s, control, tells)
		control.Close()
		tells.Close()
	})
	both.Go(func() {
		m.hear(heard, to, done)
		heard.Close()
	})
	m.wait = func() error { both.Wait(); return nil }
	return m, nil
}

// startProcess runs a crew in another process of this program.
func startProcess(s spec, to chan<- event, done <-chan struct{}) (*member, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "bots", crewFlag)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // one thread does all the work
	if s.Engine == "goroutines" {
		cmd.Env = os.Environ()
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	cmd.WaitDelay = time.Second
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	tells, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process of bots: %w", err)
	}
	m := &member{clients: s.Clients, orders: orders, kill: func() { cmd.Process.Kill() }}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		m.hear(tells, to, done)
	}()
	m.wait = func() error {
		<-heard
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%w: %.200s", err, complaints.String())
		}
		return nil
	}
	if err := json.NewEncoder(orders).Encode(s); err != nil {
		return m, fmt.Errorf("start a process of bots: %w", err)
	}
	return m, nil
}

// crewProcess is a process that is a crew. Its spec comes first, and no order before it has said that it is up.
func crewProcess() int {
	perProcess()
	line, err := bufio.NewReaderSize(os.Stdin, 4<<10).ReadBytes('\n')
	var s spec
	if err == nil {
		err = json.Unmarshal(line, &s)
	}
	if err == nil {
		err = work(s, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitBad
	}
	return exitGood
}

// end lets members end, and kills those that do not.
func end(members []*member, done chan struct{}) {
	close(done)
	for _, m := range members {
		m.orders.Close()
	}
	for _, m := range members {
		t := time.AfterFunc(5*time.Second, m.kill)
		m.wait()
		t.Stop()
	}
}
