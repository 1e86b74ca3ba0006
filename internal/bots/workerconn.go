package bots

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"goranch/internal/loadgen"
)

// workerConn is the coordinator's end of the session with a worker.
type workerConn struct {
	numClients int
	commands   io.WriteCloser
	wait       func() // waits until the worker has exited and its reports were passed on

	// State by the last reports.
	up, setupDone       bool
	tokens, ready, lost int
	final               *finalReport
	err                 error // the worker has exited before its final report
}

// event is a report of a worker or, if err is set, its exit.
type event struct {
	worker *workerConn
	report report
	err    error
}

// receive passes the reports of a worker on to events until the stream ends or done is closed.
// exit returns the reason why the stream has ended.
func (c *workerConn) receive(in io.Reader, exit func() error, events chan<- event, done <-chan struct{}) {
	dec := json.NewDecoder(bufio.NewReaderSize(in, 64<<10))
	for {
		e := event{worker: c}
		e.err = dec.Decode(&e.report)
		switch {
		case errors.Is(e.err, io.EOF):
			e.err = exit()
		case e.err == nil && e.report.Failed != "":
			e.err = errors.New(e.report.Failed)
		}
		select {
		case events <- e:
		case <-done:
		}
		if e.err != nil {
			io.Copy(io.Discard, in) // the worker must not block in a write
			return
		}
	}
}

// send sends a command. A failed write is not reported: receive reports the end of the stream.
func (c *workerConn) send(cmd command) {
	if c.err == nil {
		json.NewEncoder(c.commands).Encode(cmd)
	}
}

// startLocal runs a worker in this process.
func startLocal(cfg workerConfig, events chan<- event, done <-chan struct{}) (*workerConn, error) {
	control, commands, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	reports, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, control.Close(), commands.Close())
	}
	c := &workerConn{numClients: cfg.NumClients, commands: commands}
	var both sync.WaitGroup
	both.Go(func() {
		runWorker(cfg, control, out) // its error is its last report
		control.Close()
		out.Close()
	})
	both.Go(func() {
		c.receive(reports, func() error { return errors.New("end of reports") }, events, done)
		reports.Close()
	})
	c.wait = both.Wait
	return c, nil
}

// startProcess runs a worker in a child process.
func startProcess(cfg workerConfig, events chan<- event, done <-chan struct{}) (*workerConn, error) {
	var env []string
	if cfg.Engine != "goroutines" {
		env = []string{"GOMAXPROCS=1"} // one thread does all the work
	}
	p, err := loadgen.StartProcess([]string{"bots", workerFlag}, env, nil)
	if err != nil {
		return nil, fmt.Errorf("start a worker process: %w", err)
	}
	c := &workerConn{numClients: cfg.NumClients, commands: p.Stdin}
	exit := func() error {
		if err := p.Wait(); err != nil {
			return err
		}
		return errors.New("the process has exited")
	}
	received := make(chan struct{})
	go func() {
		defer close(received)
		c.receive(p.Stdout, exit, events, done)
	}()
	c.wait = func() {
		p.Stop()
		<-received
	}
	if err := json.NewEncoder(p.Stdin).Encode(cfg); err != nil {
		return c, fmt.Errorf("start a worker process: %w", err)
	}
	return c, nil
}

// workerMain is the main function of a worker process. The first line of stdin is its
// workerConfig; the coordinator sends no command before the worker has reported that it is up, so
// the buffered reader takes nothing that follows.
func workerMain() int {
	line, err := bufio.NewReaderSize(os.Stdin, 4<<10).ReadBytes('\n')
	var cfg workerConfig
	if err == nil {
		err = json.Unmarshal(line, &cfg)
	}
	if err == nil {
		err = runWorker(cfg, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitBad
	}
	return exitGood
}

// stopWorkers closes the command streams, which ends the workers, and waits for them.
func stopWorkers(workers []*workerConn, done chan struct{}) {
	close(done)
	for _, c := range workers {
		c.commands.Close()
	}
	for _, c := range workers {
		c.wait()
	}
}
