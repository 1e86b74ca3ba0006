package bots

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"goranch/internal/loadgen"
)

// errUnconnected reports that no client became ready.
var errUnconnected = errors.New("cannot connect")

const (
	maxClientsPerProcess = 19_500
	spareFiles           = 128              // open files of a process that are no clients
	workerTimeout        = 10 * time.Second // for reports that are due at once
)

// coordinator runs the workers and the publisher and collects the result.
type coordinator struct {
	*plan
	res      *result
	pub      *publisher
	workers  []*workerConn
	events   chan event
	done     chan struct{}
	progress *progress

	connectStart time.Time
	broadcasts   map[int]*collector // by number; not yet reported by all workers
	complete     int                // broadcasts that were reported by all workers
	unreceived   int                // the last so many complete broadcasts reached no client
}

// run executes a plan.
func run(ctx context.Context, p *plan, prog *progress) (*result, error) {
	address, err := resolve(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnconnected, err)
	}
	m := message{Topic: p.Topic, Data: "test"}
	if p.MessageSize > 0 {
		m.Data = strings.Repeat("x", p.MessageSize)
	}
	if p.Repeat > 1 {
		m.Prefix = nonce() + "-"
	}
	c := &coordinator{
		plan: p, res: newResult(p, address), pub: newPublisher(p, address, m), progress: prog,
		events: make(chan event, 64), done: make(chan struct{}), broadcasts: map[int]*collector{},
	}
	nc, err := c.pub.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w to %s: %w", errUnconnected, address, err)
	}
	nc.Close()
	defer func() { stopWorkers(c.workers, c.done) }()
	if err := c.startWorkers(address, m); err != nil {
		return nil, err
	}
	if err := c.setup(ctx); err != nil {
		return nil, err
	}
	if err := c.publish(ctx); err != nil {
		return nil, err
	}
	return c.res, c.finish(ctx)
}

// resolve returns the IP address and port of the server. It prefers IPv4: servers listen on
// 127.0.0.1 by default.
func resolve(ctx context.Context, p *plan) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.Host)
	if err != nil {
		return "", err
	}
	best := all[0]
	for _, ip := range all {
		if ip.Unmap().Is4() {
			best = ip.Unmap()
			break
		}
	}
	return net.JoinHostPort(best.String(), strconv.Itoa(p.Port)), nil
}

func nonce() string {
	b := make([]byte, 4)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// clientsPerProcess returns how many clients one process may have.
func clientsPerProcess() int {
	return max(1, min(maxClientsPerProcess, loadgen.MaxOpenFiles()-spareFiles))
}

// startWorkers starts the workers: one in this process, or several processes.
func (c *coordinator) startWorkers(address string, m message) error {
	n, perProcess := c.Processes, clientsPerProcess()
	if n == 0 {
		n = (c.Clients + perProcess - 1) / perProcess
	}
	n = min(n, c.Clients)
	c.res.Processes = n
	start := startProcess
	if n == 1 {
		start = startLocal
	}
	for i := range n {
		cfg := workerConfig{
			First: c.Clients * i / n, Address: address, Message: m, Repeat: c.Repeat, Timeout: c.Timeout, SetupTimeout: c.setupLimit(),
			ConnectRate: c.ConnectRate / float64(n), MaxInFlight: max(1, c.InFlight/n), Engine: c.Engine,
		}
		cfg.NumClients = c.Clients*(i+1)/n - cfg.First
		w, err := start(cfg, c.events, c.done)
		if w != nil {
			c.workers = append(c.workers, w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sendAll sends a command to every worker.
func (c *coordinator) sendAll(cmd command) {
	for _, w := range c.workers {
		w.send(cmd)
	}
}

// all reports whether every worker that has not failed satisfies a condition.
func (c *coordinator) all(condition func(*workerConn) bool) bool {
	for _, w := range c.workers {
		if w.err == nil && !condition(w) {
			return false
		}
	}
	return true
}

// setup connects and subscribes the clients.
func (c *coordinator) setup(ctx context.Context) error {
	up := func(w *workerConn) bool { return w.up }
	if err := c.await(ctx, workerTimeout, func() bool { return c.all(up) }); err != nil {
		return err
	}
	c.connectStart = time.Now()
	c.sendAll(command{Connect: true})
	setupDone := func(w *workerConn) bool { return w.setupDone }
	err := c.await(ctx, c.setupLimit()+workerTimeout, func() bool { return c.all(setupDone) })
	c.progress.end()
	if err != nil {
		return err
	}
	c.res.setup = time.Since(c.connectStart)
	if tokens, ready, lost := c.counts(); ready == 0 {
		return fmt.Errorf("%w to %s: no client is ready: %d received a token, %d were lost:%s", errUnconnected, c.res.Server, tokens, lost, reasonLines(c.res.Reasons))
	}
	return nil
}

func (c *coordinator) counts() (tokens, ready, lost int) {
	for _, w := range c.workers {
		tokens, ready, lost = tokens+w.tokens, ready+w.ready, lost+w.lost
	}
	return tokens, ready, lost
}

// await handles events until a condition is true.
func (c *coordinator) await(ctx context.Context, limit time.Duration, condition func() bool) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !condition() {
		select {
		case e := <-c.events:
			c.handle(e)
		case <-timer.C:
			return fmt.Errorf("a worker has not reported within %v", limit)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (c *coordinator) handle(e event) {
	w, r := e.worker, e.report
	switch {
	case w.err != nil || e.err != nil && w.final != nil:
		return
	case e.err != nil:
		c.workerFailed(w, e.err)
		return
	}
	w.up = w.up || r.Up
	if p := r.Progress; p != nil {
		w.tokens, w.ready, w.lost, w.setupDone = p.Tokens, p.Ready, p.Lost, r.SetupDone
		for reason, n := range p.Reasons {
			c.res.Reasons[reason] += n
		}
		_, ready, lost := c.counts()
		c.progress.show(time.Since(c.connectStart), ready, c.Clients, lost)
	}
	if b := r.Broadcast; b != nil {
		col := c.collect(b.Number)
		col.add(w, b)
		c.checkComplete(b.Number, col)
	}
	if r.Final != nil {
		w.final = r.Final
	}
}

func (c *coordinator) workerFailed(w *workerConn, err error) {
	w.err = err
	c.res.note("a worker with %d clients failed: %v", w.numClients, err)
	c.res.Reasons[workerExited] += w.numClients
	for n, col := range c.broadcasts {
		c.checkComplete(n, col)
	}
}

// collect returns the collector of message n.
func (c *coordinator) collect(n int) *collector {
	col := c.broadcasts[n]
	if col == nil {
		col = &collector{from: map[*workerConn]bool{}}
		c.broadcasts[n] = col
	}
	return col
}

// checkComplete adds a broadcast to the result if every worker has reported it, and lets the
// publisher continue.
func (c *coordinator) checkComplete(n int, col *collector) {
	if !c.all(func(w *workerConn) bool { return col.from[w] }) {
		return
	}
	delete(c.broadcasts, n)
	c.complete++
	good := c.res.add(n, col)
	if c.unreceived++; good > 0 {
		c.unreceived = 0
	}
	select {
	case c.pub.next <- struct{}{}:
	default:
	}
}

// publish publishes all messages and waits until each was received by every client or is overdue.
func (c *coordinator) publish(ctx context.Context) error {
	c.pub.begin(ctx)
	defer c.pub.end()
	c.pub.next <- struct{}{}
	begin, published, failures := time.Now(), 0, 0
	idleLimit := c.Timeout + dialTimeout + workerTimeout
	if c.Rate > 0 {
		idleLimit += time.Duration(float64(time.Second) / c.Rate)
	}
	timer := time.NewTimer(idleLimit)
	defer timer.Stop()
	results := c.pub.results
	for c.complete < c.Repeat {
		if failures >= maxFailures || c.unreceived >= maxFailures || c.all(func(*workerConn) bool { return false }) {
			c.res.note("stopped after %d of %d messages: the last %d reached no client", published, c.Repeat, maxFailures)
			break
		}
		select {
		case e := <-c.events:
			c.handle(e)
		case r, ok := <-results:
			if !ok {
				results = nil
				continue
			}
			published++
			failures = c.publishDone(r, failures)
		case <-timer.C:
			return fmt.Errorf("no progress for %v", idleLimit)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		timer.Reset(idleLimit)
	}
	c.res.run = time.Since(begin)
	return nil
}

// publishDone passes the outcome of a publish on to the workers. It returns the number of failures
// in a row.
func (c *coordinator) publishDone(r publishResult, failures int) int {
	cmd := command{Published: r.n, At: ticks(r.at)}
	col := c.collect(r.n)
	col.lag = r.lag
	if r.err != nil {
		cmd.At = 0
		c.res.publishFailed(r.err)
		failures++
	} else {
		failures = 0
	}
	c.sendAll(cmd)
	return failures
}

// finish collects the final reports of the workers.
func (c *coordinator) finish(ctx context.Context) error {
	c.sendAll(command{End: true})
	hasFinal := func(w *workerConn) bool { return w.final != nil }
	if err := c.await(ctx, workerTimeout, func() bool { return c.all(hasFinal) }); err != nil {
		return err
	}
	c.res.complete(c.workers, c.pub)
	return nil
}
