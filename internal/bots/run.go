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
)

// errUnconnected is of a run without a single bot.
var errUnconnected = errors.New("cannot connect")

const (
	mostPerProcess = 19_500
	patience       = 10 * time.Second // for what a crew has to say in any case
)

// runner is the coordinator.
type runner struct {
	*plan
	res     *result
	pub     *publisher
	members []*member
	events  chan event
	done    chan struct{}

	bursts   map[int]*collected // not yet complete
	complete int
	silent   int // messages in a row that nobody got
	progress *progress
	begin    time.Time // of connecting
}

// run does the whole run.
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
	r := &runner{
		plan: p, res: newResult(p, address), pub: newPublisher(p, address, m), progress: prog,
		events: make(chan event, 64), done: make(chan struct{}), bursts: map[int]*collected{},
	}
	nc, err := r.pub.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w to %s: %w", errUnconnected, address, err)
	}
	nc.Close()
	defer func() { end(r.members, r.done) }()
	if err := r.start(address, m); err != nil {
		return nil, err
	}
	if err := r.setup(ctx); err != nil {
		return nil, err
	}
	if err := r.publish(ctx); err != nil {
		return nil, err
	}
	return r.res, r.finish(ctx)
}

func resolve(ctx context.Context, p *plan) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.Host)
	if err != nil {
		return "", err
	}
	best := all[0]
	for _, ip := range all { // IPv4 first: localhost is where servers listen by default
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

// start starts the crews.
func (r *runner) start(address string, m message) error {
	n, most := r.Processes, perProcess()
	if n == 0 {
		n = (r.Clients + most - 1) / most
	}
	n = min(n, r.Clients)
	r.res.Processes = n
	for i := range n {
		s := spec{
			First: r.Clients * i / n, Address: address, Message: m, Repeat: r.Repeat, Timeout: r.Timeout,
			SetupTimeout: r.setupLimit(), ConnectRate: r.ConnectRate / float64(n), InFlight: max(1, r.InFlight/n), Engine: r.Engine,
		}
		s.Clients = r.Clients*(i+1)/n - s.First
		start := startProcess
		if n == 1 {
			start = startHere
		}
		x, err := start(s, r.events, r.done)
		if x != nil {
			r.members = append(r.members, x)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tell gives an order to all.
func (r *runner) tell(o order) {
	for _, m := range r.members {
		m.order(o)
	}
}

// all tells whether something is true of every crew that is left.
func (r *runner) all(what func(*member) bool) bool {
	for _, m := range r.members {
		if m.dead == nil && !what(m) {
			return false
		}
	}
	return true
}

// setup connects the bots, all crews at once.
func (r *runner) setup(ctx context.Context) error {
	up := func(m *member) bool { return m.up }
	if err := r.await(ctx, patience, func() bool { return r.all(up) }); err != nil {
		return err
	}
	r.begin = time.Now()
	r.tell(order{Connect: true})
	settled := func(m *member) bool { return m.settled }
	err := r.await(ctx, r.setupLimit()+patience, func() bool { return r.all(settled) })
	r.progress.end()
	if err != nil {
		return err
	}
	r.res.setup = time.Since(r.begin)
	if tokens, ready, lost := r.counts(); ready == 0 {
		return fmt.Errorf("%w to %s: no bot is ready: %d have got a token, %d were lost:%s", errUnconnected, r.res.Server, tokens, lost, reasonLines(r.res.Reasons))
	}
	return nil
}

func (r *runner) counts() (tokens, ready, lost int) {
	for _, m := range r.members {
		tokens, ready, lost = tokens+m.tokens, ready+m.ready, lost+m.lost
	}
	return tokens, ready, lost
}

// await takes what crews tell until something has come true.
func (r *runner) await(ctx context.Context, limit time.Duration, true func() bool) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !true() {
		select {
		case e := <-r.events:
			r.take(e)
		case <-timer.C:
			return fmt.Errorf("a crew of bots said nothing for %v", limit)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// take takes in what a crew tells.
func (r *runner) take(e event) {
	m := e.member
	switch {
	case m.dead != nil || e.err != nil && m.final != nil:
		return
	case e.err != nil:
		m.dead = e.err
		r.res.note("%d bots are bad because their crew has ended: %v", m.clients, e.err)
		r.res.Reasons["the crew has ended"] += m.clients
		for n, b := range r.bursts {
			r.check(n, b)
		}
		return
	}
	if p := e.news.Progress; p != nil {
		m.tokens, m.ready, m.lost, m.settled = p.Tokens, p.Ready, p.Lost, e.news.Settled
		for why, n := range p.Reasons {
			r.res.Reasons[why] += n
		}
		_, ready, lost := r.counts()
		r.progress.show(time.Since(r.begin), ready, r.Clients, lost)
	}
	if b := e.news.Burst; b != nil {
		c := r.collect(b.Number)
		c.add(m, b)
		r.check(b.Number, c)
	}
	m.up = m.up || e.news.Up
	if e.news.Final != nil {
		m.final = e.news.Final
	}
}

func (r *runner) collect(n int) *collected {
	c := r.bursts[n]
	if c == nil {
		c = &collected{from: map[*member]bool{}}
		r.bursts[n] = c
	}
	return c
}

// check sums up a burst if all crews have told of it.
func (r *runner) check(n int, c *collected) {
	if !r.all(func(m *member) bool { return c.from[m] }) {
		return
	}
	delete(r.bursts, n)
	r.complete++
	good := r.res.add(n, c)
	if r.silent++; good > 0 {
		r.silent = 0
	}
	select {
	case r.pub.next <- struct{}{}:
	default:
	}
}

// publish publishes all messages, and waits until each has arrived or is overdue.
func (r *runner) publish(ctx context.Context) error {
	r.pub.begin(ctx)
	defer r.pub.end()
	r.pub.next <- struct{}{}
	begin, told, failures := time.Now(), 0, 0
	quiet := r.Timeout + dialTimeout + patience
	if r.Rate > 0 {
		quiet += time.Duration(float64(time.Second) / r.Rate)
	}
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	source := r.pub.told
	for r.complete < r.Repeat {
		if failures >= maxFailures || r.silent >= maxFailures || r.all(func(*member) bool { return false }) {
			r.res.note("gave up after %d of %d messages: the last %d reached nobody", told, r.Repeat, maxFailures)
			break
		}
		select {
		case e := <-r.events:
			r.take(e)
		case w, ok := <-source:
			if !ok {
				source = nil
				continue
			}
			told++
			failures = r.published(w, failures)
		case <-timer.C:
			return fmt.Errorf("nothing has happened for %v", quiet)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		timer.Reset(quiet)
	}
	r.res.run = time.Since(begin)
	return nil
}

// published passes on that a message was published, or that it could not be.
func (r *runner) published(w published, failures int) int {
	o := order{Published: w.n, At: ticks(w.at)}
	c := r.collect(w.n)
	c.lag = w.lag
	if w.err != nil {
		o.At = 0
		r.res.unpublished(w.err)
		failures++
	} else {
		failures = 0
	}
	r.tell(o)
	return failures
}

// finish asks the crews what became of each bot.
func (r *runner) finish(ctx context.Context) error {
	r.tell(order{End: true})
	if err := r.await(ctx, patience, func() bool { return r.all(func(m *member) bool { return m.final != nil }) }); err != nil {
		return err
	}
	r.res.sum(r.members, r.pub)
	return nil
}
