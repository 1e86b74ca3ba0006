// Package relay provides a protocol that forwards each connection to an upstream, a server of
// another process, without examining what is sent.
//
//	r, err := relay.New(relay.Options{
//		Upstreams: []relay.Upstream{{Addr: "10.0.0.1:443"}, {Addr: "10.0.0.2:443", Weight: 2}},
//		Check:     relay.Check{Interval: 2 * time.Second},
//	})
//	…
//	ranch.StartListener("front", transport.TCP{}, ranch.Options{Addr: ":443"}, r)
//	…
//	ranch.Drain(ctx)
//	r.Close(ctx) // ends the health checks
//
// The upstream with the fewest connections is used, in relation to its weight; of several such,
// each in turn. If it cannot be connected to, another one is tried. An upstream that fails
// repeatedly is not used for a time ([Passive]), and health checks ([Check]) find upstreams that do
// not accept.
//
// Data that package protocol/sniff has examined is still unread and is forwarded first, so that the
// rules of a sniff.Config can choose between several relays.
//
// # Ends
//
// The end of the stream of one side is passed on to the other, which may go on sending. A reset is
// passed on as a reset. If no upstream can be connected to, the client is reset, because the relay
// cannot send an error of a protocol that it does not know. The error of Serve is then an [*Error],
// which is protocol.ErrUpstream.
//
// # Limits
//
// A relayed connection holds no buffer while it is idle, and at most 128 KiB in addition to those
// of the kernel while data flows: a side that reads slowly slows down the other side. Between plain
// TCP connections on Linux bulk data stays in the kernel (splice). The send timeout of each
// transport applies to its side, and the limits of the listener to the client. Time limits for
// traffic see that of both directions, so an upstream needs none of its own.
package relay

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"goranch/protocol"
	"goranch/transport"
)

// Relay is a [protocol.Protocol] that forwards connections. One Relay may serve several listeners.
// Its methods may be called from any goroutine.
type Relay struct {
	opts    atomic.Pointer[Options] // with defaults
	checker checker

	mu          sync.Mutex
	upstreams   []*upstream // in the order of the options
	removed     []*upstream // by SetOptions, with live connections
	unavailable uint64      // connections for which there was no upstream
}

var _ protocol.Drainer = (*Relay)(nil)

// New returns a Relay. The error reports all options that cannot be used. If there are health
// checks, they run until Close.
func New(o Options) (*Relay, error) {
	r := new(Relay)
	if err := r.SetOptions(o); err != nil {
		return nil, err
	}
	return r, nil
}

// SetOptions replaces all options. They apply to new connections; those to an upstream that is not
// in the new list remain. Upstreams are recognized by their address and keep their counters and
// health. On error nothing is changed. After Close it starts no health checks.
func (r *Relay) SetOptions(o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	o = o.withDefaults()
	r.mu.Lock()
	defer r.mu.Unlock()
	known := map[string]*upstream{}
	for _, u := range append(r.removed, r.upstreams...) {
		known[u.addr] = u
	}
	r.upstreams, r.removed = make([]*upstream, 0, len(o.Upstreams)), nil
	for _, cfg := range o.Upstreams {
		u := known[cfg.Addr]
		if u == nil {
			u = newUpstream(cfg.Addr)
		}
		delete(known, cfg.Addr)
		u.cfg, u.turn = cfg, 0
		if o.Check.Interval <= 0 {
			u.down, u.streak = false, 0
		}
		r.upstreams = append(r.upstreams, u)
	}
	for _, u := range known {
		if u.live() > 0 {
			r.removed = append(r.removed, u)
		}
	}
	r.opts.Store(&o)
	r.checker.update(r, o.Check.Interval > 0)
	return nil
}

// Options returns the options in force, defaults included.
func (r *Relay) Options() Options { return *r.opts.Load() }

// Close ends the health checks, and waits for their goroutine until ctx ends. Connections are not
// affected: stop the listeners first. Close may be called again.
func (r *Relay) Close(ctx context.Context) error { return r.checker.close(ctx) }

// DrainsItself implements [protocol.Drainer]: see Options.DrainIdle.
func (r *Relay) DrainsItself() {}

// Serve forwards conn to an upstream until both sides have ended their streams, or one fails. It
// returns nil if the upstream has ended its stream first, io.EOF if the client has, the error of
// the client's connection, the cause of ctx, or an [*Error] for that of the upstream. The label
// "upstream" of conn is the address of the upstream.
func (r *Relay) Serve(ctx context.Context, conn *transport.Conn) error {
	done := make(chan dialled, 1)
	go func() { // dialing grows the stack, which this goroutine would keep
		var d dialled
		defer func() {
			if v := recover(); v != nil {
				d.panicked = asPanic(v)
			}
			done <- d
		}()
		d.session, d.err = r.connect(ctx, conn)
	}()
	d := <-done
	switch {
	case d.panicked != nil:
		panic(d.panicked)
	case d.err != nil:
		if errors.Is(d.err, protocol.ErrUpstream) {
			reset(conn)
		}
		return d.err
	}
	return d.session.run()
}

// dialled is the result of a dial.
type dialled struct {
	session  *session
	err      error
	panicked *protocol.PanicError
}

func asPanic(v any) *protocol.PanicError {
	if p, ok := v.(*protocol.PanicError); ok {
		return p
	}
	return &protocol.PanicError{Value: v, Stack: debug.Stack()}
}
