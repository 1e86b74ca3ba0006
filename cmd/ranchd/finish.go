package main

import (
	"context"
	"net"
	"reflect"
	"slices"

	"goranch/ranch"
)

// finish applies the changes that cannot fail: it replaces the list of listeners, changes those
// that stay, and drains those that are removed.
func (u *replacement) finish() {
	d := u.d
	before := d.all()
	for _, k := range u.kept {
		u.change(k)
	}
	var list, removed, stopped []*running
	for _, l := range u.next.Listeners {
		if r := u.added[l.Name]; r != nil && r.l == nil {
			stopped = append(stopped, r) // an address for operators that cannot be used
			continue
		} else if r != nil {
			list = append(list, r)
		} else {
			list = append(list, u.byName[l.Name])
		}
		if l.Service == shellService || l.Service.isOperators() {
			d.services[l.service()].access.Store(&l.Access)
		}
		if s := d.services[l.service()]; s.routing != nil {
			if err := d.setRelays(s, l); err != nil { // the options were checked
				d.log.Error("changing a relay failed", "relay", s.key.name, "err", err)
			}
		}
	}
	for _, r := range before {
		switch {
		case slices.Contains(list, r):
		case r.listening():
			removed = append(removed, r)
		default:
			stopped = append(stopped, r)
		}
	}
	d.mu.Lock()
	d.running, d.draining = list, append(d.draining, removed...)
	d.mu.Unlock()
	d.findDashboard()
	for _, r := range removed {
		d.removed.Go(func() { d.remove(r) })
	}
	for _, r := range stopped {
		d.removed.Go(func() { d.closeRemoved(r) })
	}
}

// change changes a listener that stays.
func (u *replacement) change(k kept) {
	r, previous := k.r, k.r.config
	if previous.requested().address() == k.next.address() { // keep an address that replaces it
		k.next.Addr, k.next.Wanted, k.next.Instead = previous.Addr, previous.Wanted, previous.Instead
	}
	r.config = k.next
	if k.next.TLS {
		r.tls.current.Store(k.next.tlsConfig(u.d.selfSigned))
	}
	if k.gateway != nil || k.service != r.service() {
		if r.gateway != nil {
			r.old = append(r.old, r.gateway)
		}
		r.gateway = k.gateway
		r.use(k.service)
		if p, ok := r.protocol().(postListener); ok {
			p.PostListen(bound{addr: r.l.Addr()})
		}
		r.l.SetProtocol(r.protocol())
	}
	if err := u.setOptions(r, previous); err != nil { // the options were checked
		u.d.log.Error("changing a listener failed", "listener", r.config.Name, "err", err)
	}
}

// setOptions sets the options that differ: operators may have changed others.
func (u *replacement) setOptions(r *running, previous *listenerConfig) error {
	before, after := u.old.options(previous), u.next.options(r.config)
	after.PostListen, before.PostListen = nil, nil
	transportChanged := !reflect.DeepEqual(previous.transport(nil), r.config.transport(nil))
	change := func(o *ranch.Options) {
		merge(reflect.ValueOf(o).Elem(), reflect.ValueOf(before), reflect.ValueOf(after))
		o.PostListen = nil
		if p, ok := r.protocol().(postListener); ok {
			o.PostListen = p.PostListen
		}
	}
	if r.gateway != nil && before.DrainSpread != after.DrainSpread {
		r.gateway.inner.ChangeOptions(func(o *ranch.Options) { o.DrainSpread = after.DrainSpread })
	}
	limit := r.l.Info().MaxConnections
	if before.MaxConnections != after.MaxConnections {
		limit = after.MaxConnections
	}
	var err error
	if transportChanged {
		o := r.l.Options()
		change(&o)
		o.MaxConnections = limit
		_, err = r.l.SetOptions(u.d.transport(r), o)
	} else {
		_, err = r.l.ChangeOptions(change)
	}
	if err == nil && limit != r.l.Info().MaxConnections {
		err = r.l.SetMaxConnections(limit)
	}
	return err
}

// merge sets the fields of o that differ between before and after to those of after.
func merge(o, before, after reflect.Value) {
	for i := range o.NumField() {
		b, a := before.Field(i), after.Field(i)
		switch {
		case b.Kind() == reflect.Struct:
			merge(o.Field(i), b, a)
		case b.Kind() != reflect.Func && !reflect.DeepEqual(b.Interface(), a.Interface()):
			o.Field(i).Set(a)
		}
	}
}

// bound has the address of a listener.
type bound struct {
	net.Listener
	addr net.Addr
}

func (b bound) Addr() net.Addr { return b.addr }

// remove drains a listener that is not configured any more.
func (d *daemon) remove(r *running) {
	ctx, cancel := d.drainLimit(context.Background(), r)
	defer cancel()
	d.log.Info("draining a listener that is not configured any more", "listener", r.config.Name, "connections", r.l.Info().AllConnections)
	if err := r.l.Drain(ctx); err != nil {
		d.log.Warn("stopping a removed listener failed", "listener", r.config.Name, "err", err)
	}
	d.closeRemoved(r)
}

// closeRemoved closes what only a stopped listener has used.
func (d *daemon) closeRemoved(r *running) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	d.logClosed(r.close(ctx))
	d.changing.Lock() // a reload may be about to use one of the services
	defer d.changing.Unlock()
	d.mu.Lock()
	d.draining = slices.DeleteFunc(d.draining, func(other *running) bool { return other == r })
	var unused []*runningService
	for key, s := range d.services {
		uses := func(r *running) bool { return slices.Contains(r.used, s) }
		if slices.Contains(r.used, s) && !slices.ContainsFunc(d.running, uses) && !slices.ContainsFunc(d.draining, uses) {
			unused = append(unused, s)
			delete(d.services, key)
		}
	}
	d.mu.Unlock()
	for _, s := range unused {
		d.logClosed(s.close(ctx))
	}
}
