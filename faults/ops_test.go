package faults_test

import (
	"context"
	"net"
	"net/netip"
	"time"

	"goranch/conns"
	"goranch/faults"
	"goranch/ranch"
	"goranch/transport"
)

// do executes an operation. Operations that may take long run in the background.
func (w *world) do(o op) {
	ln := w.lnOf[o.listener]
	switch o.kind {
	case "connect":
		w.connect(ln, o, 0)
		return
	case "burst":
		for i := range 2 + o.a%8 {
			w.connect(ln, op{a: o.a + i, b: o.b + 7*i}, i)
		}
		return
	case "rates":
		w.setRates(randomRates(w.source(o)))
		return
	case "sockets":
		ln.t.CloseSockets()
		return
	case "group":
		if w.shared != nil {
			ln.capMu.Lock() // another listener's may interleave; the larger is allowed until the next check
			defer ln.capMu.Unlock()
			w.groupMu.Lock()
			defer w.groupMu.Unlock()
			w.cap.change(1+o.a%6, func() { w.shared.Set(conns.SharedLimits{MaxConnections: 1 + o.a%6}) })
		}
		return
	case "check":
		w.background(o, func(ctx context.Context) error { return w.ranch.CheckAcceptors(ctx) })
		return
	case "start":
		w.try(o, ln.start)
		return
	}
	l, led, srv := ln.get()
	if l == nil {
		return
	}
	w.doListener(o, ln, l, led, srv)
}

func (w *world) doListener(o op, ln *listening, l *ranch.Listener, led *ledger, srv *server) {
	switch o.kind {
	case "cap":
		ln.capMu.Lock()
		defer ln.capMu.Unlock()
		led.cap.change(o.a%7, func() { l.SetMaxConnections(o.a % 7) })
	case "suspend":
		w.try(o, l.Suspend)
	case "resume":
		w.try(o, l.Resume)
	case "kill":
		q := o.query(l)
		if l.Kill(q) == 1 && q.ID > 0 {
			led.kill(q.ID)
		}
	case "end":
		l.End(o.query(l))
	case "protocol":
		l.SetProtocol(srv.protocol(ln.plan.protocols[o.a%len(ln.plan.protocols)]))
	case "options":
		w.try(o, func() error {
			_, err := l.ChangeOptions(func(opts *ranch.Options) { randomOptions(w.source(o), opts, ln.plan.turnsAway) })
			return err
		})
	case "remove":
		if s := led.pick(o.a); s != nil {
			led.remove(s)
			ranch.RemoveConnection(s.conn)
		}
	case "info":
		led.checkSums(l.Info())
	case "ban":
		if ln.plan.turnsAway {
			ln.ban(o, l)
		}
	default:
		w.doBackground(o, ln, l)
	}
}

// doBackground executes an operation that may take long.
func (w *world) doBackground(o op, ln *listening, l *ranch.Listener) {
	switch o.kind {
	case "trace":
		stop := l.Trace(conns.Trace{Func: func(transport.TraceEvent) {}})
		w.background(o, func(ctx context.Context) error { <-ctx.Done(); stop(); return nil })
	case "observe":
		stop := l.Observe(func(e ranch.Event) {
			if o.a%3 == 0 && e.Kind == ranch.ConnStarted {
				panic("faults: a panic of an observer")
			}
		})
		w.background(o, func(ctx context.Context) error { <-ctx.Done(); stop(); return nil })
	case "wait":
		w.background(o, func(ctx context.Context) error {
			return l.WaitForConnections(ctx, faults.Pick(w.source(o), ranch.Less, ranch.Equal, ranch.GreaterEqual), o.a%5)
		})
	case "stop":
		w.background(o, func(context.Context) error {
			err := l.Stop()
			ln.stopped(l, err)
			return err
		})
	case "drain":
		w.background(o, func(ctx context.Context) error {
			err := l.Drain(ctx)
			ln.stopped(l, err)
			return err
		})
	default:
		panic(o.kind)
	}
}

// banned is the network that ban bans.
var banned = netip.MustParsePrefix("192.0.2.1/32")

func (ln *listening) ban(o op, l *ranch.Listener) {
	if o.a%2 == 0 {
		ln.nets.Add(conns.NetworkRule{Prefix: banned, Deny: true, Reset: o.b%2 == 0})
		l.CloseBanned()
	} else {
		ln.nets.Remove(banned)
	}
}

// source returns the source for the decisions of an operation.
func (w *world) source(o op) *faults.Source {
	return w.src.Derive(1<<32 + uint64(o.a)<<16 + uint64(o.b))
}

// query selects one connection, or all.
func (o op) query(l *ranch.Listener) conns.Query {
	if o.b%4 == 0 {
		return conns.Query{}
	}
	page, _ := l.Select(conns.Query{Offset: o.a % 3, Limit: 1})
	if len(page) == 0 {
		return conns.Query{ID: 1}
	}
	return conns.Query{ID: page[0].ID}
}

func (w *world) try(o op, f func() error) {
	w.logf("%v: %v", o, f())
}

// background executes f within o.d.
func (w *world) background(o op, f func(context.Context) error) {
	w.ops.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), o.d)
		defer cancel()
		w.try(o, func() error { return f(ctx) })
	})
}

// connect starts a client.
func (w *world) connect(ln *listening, o op, n int) {
	l, _, _ := ln.get()
	if l == nil {
		return
	}
	size := o.b % 32768
	if o.b%3 == 0 {
		size = o.b % 300
	}
	c := w.newClient(clientBehaviours[o.a%len(clientBehaviours)], size, uint64(o.a)<<24+uint64(o.b)<<8+uint64(n))
	c.to = ln
	w.mu.Lock()
	w.clients = append(w.clients, c)
	w.mu.Unlock()
	dial := w.direct
	if o.b%2 == 0 {
		dial = w.viaProxy
	}
	w.wg.Go(func() {
		c.run(w.ctx, func(ctx context.Context, c *client) error { return dial(ctx, c, ln, l) })
		w.logf("client %s, %s: sent %d, got %d, to the end %v", c.addr, c.behaviour, c.sent, c.got, c.readToEnd)
	})
}

func (w *world) newClient(behaviour string, size int, seed uint64) *client {
	return &client{behaviour: behaviour, size: size, src: w.src.Derive(1<<50 + seed), served: make(chan struct{})}
}

// direct connects a client to a listener.
func (w *world) direct(ctx context.Context, c *client, ln *listening, l *ranch.Listener) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	nc, err := ln.t.Dial(ctx, l.Addr().String())
	if err == nil {
		c.nc, c.addr = nc, nc.LocalAddr().String()
	}
	return err
}

// viaProxy connects a client to a listener through a proxy.
func (w *world) viaProxy(ctx context.Context, c *client, ln *listening, l *ranch.Listener) error {
	if err := w.direct(ctx, c, ln, l); err != nil {
		return err
	}
	own, end, err := w.pair(ctx)
	if err != nil {
		c.nc.Close()
		return err
	}
	p := faults.Proxy{Source: c.src.Derive(0), Stream: w.stream}
	c.link = p.Link(end, c.nc)
	c.nc = own
	return nil
}

// pair returns both ends of a connection.
func (w *world) pair(ctx context.Context) (net.Conn, net.Conn, error) {
	w.pairing.Lock()
	defer w.pairing.Unlock()
	a, err := w.mem.Dial(ctx, "pairs")
	if err != nil {
		return nil, nil, err
	}
	b, err := w.pairs.Accept()
	return a, b, err
}
