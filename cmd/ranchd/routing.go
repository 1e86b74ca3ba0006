package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"goranch/protocol"
	"goranch/protocol/relay"
	"goranch/protocol/sniff"
	"goranch/transport"
)

// routing is the protocol of a relay service: a relay, or one for each route behind a table of
// server names. A reload replaces it for new connections.
type routing struct{ current atomic.Pointer[routes] }

// routes are the relays of a service. They do not change after they are in use.
type routes struct {
	entry  protocol.Protocol // of new connections
	relays []namedRelay
}

// namedRelay is a relay with the name of its service, and of its route.
type namedRelay struct {
	*relay.Relay
	name    string
	removed bool // not configured any more, with connections left
}

var _ protocol.Drainer = (*routing)(nil)

// DrainsItself implements protocol.Drainer: relays do, and so does package sniff.
func (r *routing) DrainsItself() {}

func (r *routing) Serve(ctx context.Context, conn *transport.Conn) error {
	return r.current.Load().entry.Serve(ctx, conn)
}

// Name is the protocol in commands.
func (r *routing) Name() string { return relayService.String() }

// all returns the relays; none before the first set.
func (r *routing) all() []namedRelay {
	if current := r.current.Load(); current != nil {
		return current.relays
	}
	return nil
}

func (r *routing) close(ctx context.Context) (errs error) {
	for _, n := range r.all() {
		errs = errors.Join(errs, n.Close(ctx))
	}
	return errs
}

// newRelay creates the relays of a listener.
func (d *daemon) newRelay(s *runningService, l *listenerConfig) error {
	s.routing = new(routing)
	s.protocol, s.closers = s.routing, append(s.closers, s.routing.close)
	return d.setRelays(s, l)
}

// setRelays gives a service the upstreams and routes of a listener. Relays of the same name stay
// and change.
func (d *daemon) setRelays(s *runningService, l *listenerConfig) error {
	b := routesBuilder{daemon: d, clients: l.TCP, known: map[string]namedRelay{}}
	for _, n := range s.routing.all() {
		b.known[n.name] = n
	}
	entry, err := b.build(s.key.name, l)
	if err != nil {
		b.closeNew()
		return err
	}
	next := &routes{entry: entry, relays: b.relays}
	for _, n := range s.routing.all() {
		if _, removed := b.known[n.name]; removed {
			next.relays = append(next.relays, d.removeRelay(n)...)
		}
	}
	s.routing.current.Store(next)
	return nil
}

// routesBuilder creates the relays of a service, or changes them.
type routesBuilder struct {
	*daemon
	clients transport.TCP
	known   map[string]namedRelay // before, and not in use any more
	relays  []namedRelay
	created []*relay.Relay
}

// build returns the protocol for new connections of a service.
func (b *routesBuilder) build(service string, l *listenerConfig) (protocol.Protocol, error) {
	var last protocol.Protocol // for clients without a route
	if len(l.Relay.Upstreams) > 0 {
		r, err := b.relay(service, &l.Relay)
		if err != nil || len(l.Routes) == 0 {
			return r, err
		}
		last = r
	}
	var all []sniff.Route
	for i := range l.Routes {
		r := &l.Routes[i]
		p, err := b.relay(service+"/"+r.keys.id(), &r.Relay)
		if err != nil {
			return nil, err
		}
		all = append(all, sniff.Route{ServerNames: r.keys.ServerName, ALPN: r.keys.ALPN, Protocol: p})
	}
	rest := last
	if rest == nil {
		rest = sniff.RefuseName()
	}
	table, err := sniff.TLSRoutes(append(all, sniff.Route{Protocol: rest})...)
	if err != nil {
		return nil, err
	}
	return sniff.New(sniff.Config{Rules: []sniff.Rule{{Name: "TLS", Select: table}}, Default: last})
}

// relay returns the relay of that name with the options of a configuration.
func (b *routesBuilder) relay(name string, c *relayConfig) (*relay.Relay, error) {
	o := c.options(b.clients)
	o.OnChange = func(st relay.UpstreamStats) { b.logUpstream(name, st) }
	n, ok := b.known[name]
	delete(b.known, name)
	var err error
	if ok {
		err = n.SetOptions(o)
	} else if n.Relay, err = relay.New(o); err == nil {
		b.created = append(b.created, n.Relay)
	}
	if err != nil {
		return nil, err
	}
	b.relays = append(b.relays, namedRelay{Relay: n.Relay, name: name})
	return n.Relay, nil
}

// closeNew closes what was created.
func (b *routesBuilder) closeNew() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, r := range b.created {
		b.logClosed(r.Close(ctx))
	}
}

// removeRelay ends the health checks of a relay without a route. It returns the relay while it has
// connections: its route can be configured again, with the same relay.
func (d *daemon) removeRelay(n namedRelay) []namedRelay {
	n.removed = true
	if len(n.stats().Upstreams) == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		d.logClosed(n.Close(ctx))
		return nil
	}
	o := n.Options()
	o.Check.Interval = 0
	if err := n.SetOptions(o); err != nil { // they are valid
		d.log.Error("ending the health checks of a removed route failed", "relay", n.name, "err", err)
	}
	return []namedRelay{n}
}

// stats returns the figures of the relay: of one that is removed, only upstreams with connections.
func (n namedRelay) stats() relay.Stats {
	st := n.Stats()
	if !n.removed {
		return st
	}
	st.Upstreams = slices.DeleteFunc(st.Upstreams, func(u relay.UpstreamStats) bool { return u.Live == 0 })
	for i := range st.Upstreams {
		st.Upstreams[i].State = relay.Removed
	}
	return st
}

// relays returns the figures of the relays by name.
func (d *daemon) relays() map[string]relay.Stats {
	all := map[string]relay.Stats{}
	for _, s := range d.allServices() {
		if s.routing == nil {
			continue
		}
		for _, n := range s.routing.all() {
			if st := n.stats(); !n.removed || len(st.Upstreams) > 0 {
				all[n.name] = st
			}
		}
	}
	return all
}

// logUpstream logs that the state of an upstream has changed.
func (d *daemon) logUpstream(name string, st relay.UpstreamStats) {
	if st.State == relay.Down || st.State == relay.Out {
		d.log.Warn("upstream is not used", "relay", name, "upstream", st.Addr, "state", string(st.State), "err", cmp.Or(st.LastError, "none"))
		return
	}
	d.log.Info("upstream is used again", "relay", name, "upstream", st.Addr)
}
