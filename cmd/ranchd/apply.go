package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/settings"
	"goranch/ranch"
	"goranch/ranch/admin"
)

var errStopping = errors.New("ranchd is stopping")

// reloadAtSignal reads configuration and files again and logs the result.
func (d *daemon) reloadAtSignal() {
	d.notify.reloading()
	defer d.notify.ready()
	if d.config().File != "" {
		d.reload() // logs
	}
	d.reloadFiles()
}

// reloadCommand does the same for the command reload.
func (d *daemon) reloadCommand(context.Context) (changes []admin.Change, err error) {
	if d.config().File != "" {
		changes, err = d.reload()
	}
	if err == nil {
		d.reloadFiles()
	}
	return changes, err
}

// reload reads the configuration file and applies what has changed: everything, or nothing if there
// is an error. It logs the result.
func (d *daemon) reload() ([]admin.Change, error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	old := d.config()
	if d.ended || d.stopping.Err() != nil {
		return nil, errStopping
	}
	next, err := newConfig(old.command, old.given)
	var changes []admin.Change
	if err == nil {
		changes, err = d.apply(old, next)
	}
	d.reloaded.Store(&reloadResult{ok: err == nil, at: time.Now()})
	if err != nil {
		faults := faultsOf(err)
		for _, fault := range faults {
			d.log.Error("configuration is invalid; nothing was changed", "err", fault)
		}
		d.notify.reloadEnded(faults)
		return nil, err
	}
	for _, ch := range changes {
		d.log.Info("configuration changed", "listener", ch.Listener, "key", ch.Key, "before", ch.Before, "after", ch.After, "effect", string(ch.Effect))
	}
	d.log.Info("configuration reloaded", "file", next.File, "changes", len(changes))
	d.notify.reloadEnded(nil)
	return changes, nil
}

// reloadResult is the result of an attempt to load the configuration.
type reloadResult struct {
	ok bool
	at time.Time
}

// lastReload returns the result of the last attempt to load the configuration: the start or a
// reload.
func (d *daemon) lastReload() (ok bool, at time.Time) {
	if r := d.reloaded.Load(); r != nil {
		return r.ok, r.at
	}
	return true, d.started
}

// apply replaces the configuration in force. What can fail is done first, and undone if it fails.
// d.changing is held.
func (d *daemon) apply(old, next *config) ([]admin.Change, error) {
	next.reuse(old)
	started, byName := map[string]*listenerConfig{}, map[string]*running{}
	for _, r := range d.all() {
		if r.listening() {
			started[r.config.Name], byName[r.config.Name] = r.config.requested(), r
		}
	}
	u := replacement{d: d, old: old, next: next, byName: byName, services: maps.Clone(d.services)}
	changes := changesTo(old, next, started)
	if err := u.prepare(); err != nil {
		u.undo()
		return nil, err
	}
	changes = slices.DeleteFunc(changes, func(ch admin.Change) bool {
		r := u.added[ch.Listener]
		return ch.Effect == admin.Added && r != nil && r.l == nil // it does without
	})
	next.keep(old, started)
	d.useNetworks(next)
	d.useShared(next, true) // the limits were checked
	d.use(next)
	u.finish()
	d.watch.update(next.files)
	d.logCertificates()
	return changes, nil
}

// requested returns the configuration with the address that was configured, if another replaces it.
func (l *listenerConfig) requested() *listenerConfig {
	if l.Instead == "" {
		return l
	}
	c := *l
	c.Addr = l.Wanted
	return &c
}

// replacement is the state of a reload.
type replacement struct {
	d         *daemon
	old, next *config
	byName    map[string]*running            // started listeners of the previous configuration
	services  map[serviceKey]*runningService // of the previous configuration
	suspended []*running
	added     map[string]*running
	kept      []kept
}

// kept is a listener in both configurations.
type kept struct {
	r       *running
	next    *listenerConfig
	service *runningService
	gateway *gateway // nil if it stays
}

// prepare creates services, gateways and new listeners.
func (u *replacement) prepare() error {
	u.added = map[string]*running{}
	if err := u.d.useShared(u.next, false); err != nil {
		return err
	}
	var faults []error
	for _, l := range u.next.Listeners {
		if err := u.prepareListener(l); err != nil {
			faults = append(faults, u.fault(l, err))
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	u.suspendConflicts()
	return u.startAdded()
}

func (u *replacement) prepareListener(l *listenerConfig) error {
	r := u.byName[l.Name]
	if r == nil {
		if _, err := u.d.server.Listener(l.Name); err == nil {
			return errors.New("a listener of this name is still draining; reload again when it has stopped, or use another name")
		}
		r, err := u.d.prepare(u.next, l)
		if err == nil {
			u.added[l.Name] = r
		}
		return err
	}
	s, err := u.service(r, l)
	if err != nil {
		return err
	}
	k := kept{r: r, next: l, service: s}
	if l.Service == webService && (r.gateway == nil || !reflect.DeepEqual(r.config.Web, l.Web) || s != r.service()) {
		if k.gateway, err = u.d.newGateway(s, l); err != nil {
			return err
		}
	}
	if l.TLS {
		if err := u.d.createCertificate(l); err != nil {
			return err
		}
	}
	u.kept = append(u.kept, k)
	return nil
}

// service returns the service of a listener in both configurations. A packet server has no state
// that outlives its connections, so one with other options replaces it.
func (u *replacement) service(r *running, l *listenerConfig) (*runningService, error) {
	key := l.service()
	s := u.d.services[key]
	if s == nil || key.protocol != packetService || s.packet == l.Packet {
		return u.d.service(u.next, l)
	}
	s, err := u.d.newService(u.next, l)
	if err != nil {
		return nil, err
	}
	u.d.mu.Lock()
	defer u.d.mu.Unlock()
	u.d.services[key] = s
	return s, nil
}

// suspendConflicts suspends removed listeners whose addresses new ones need.
func (u *replacement) suspendConflicts() {
	for name, r := range u.byName {
		if u.isKept(name) {
			continue
		}
		for _, a := range u.added {
			if a.config.Addr == r.config.Addr || a.config.overlaps(r.config.endpoint) {
				if r.l.Status() == ranch.Running && r.l.Suspend() == nil {
					u.suspended = append(u.suspended, r)
				}
				break
			}
		}
	}
}

func (u *replacement) isKept(name string) bool {
	for _, k := range u.kept {
		if k.r.config.Name == name {
			return true
		}
	}
	return false
}

// startAdded starts the new listeners. None accepts before all have opened their sockets.
func (u *replacement) startAdded() error {
	b := newBarrier(len(u.added))
	var wg sync.WaitGroup
	errs := make(chan error, len(u.added))
	for _, r := range u.added {
		wg.Go(func() {
			var opened atomic.Int64
			err := u.d.startListener(u.next, r, func(net.Listener) error {
				if opened.Add(1) != int64(r.config.Options.NumListenSockets) {
					return nil // another socket follows, or one is opened again later
				}
				return b.arrive()
			})
			switch {
			case err == nil:
			case errors.Is(err, errOtherFailed):
			case r.config.Service.isOperators() && r.config.Default:
				u.d.logWithout(r, err)
				b.leave()
			default:
				b.fail()
				errs <- u.fault(r.config, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	var faults []error
	for err := range errs {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// fault returns the error of a listener with its place in the file and a hint.
func (u *replacement) fault(l *listenerConfig, err error) error {
	text := err.Error()
	if h := hint(l.endpoint, err); h != "" {
		text += "; " + h
	}
	if p, ok := l.scope.places["address"]; ok {
		return &settings.Fault{File: p.file, Line: p.line, Text: fmt.Sprintf("listener %s: address %s: %s", l.Name, settings.Quote(l.Addr.String()), text)}
	}
	return fmt.Errorf("listener %s: %s", l.Name, text)
}

// undo undoes prepare.
func (u *replacement) undo() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, r := range u.added {
		if r.l != nil {
			r.l.Stop()
		}
		u.d.logClosed(r.close(ctx))
	}
	for _, k := range u.kept {
		if k.gateway != nil {
			u.d.logClosed(k.gateway.close(ctx))
		}
	}
	u.d.mu.Lock()
	created := u.d.services
	u.d.services = u.services
	u.d.mu.Unlock()
	for key, s := range created {
		if u.services[key] != s {
			u.d.logClosed(s.close(ctx))
		}
	}
	for _, r := range u.suspended {
		if err := r.l.Resume(); err != nil {
			u.d.log.Error("resuming a listener failed", "listener", r.config.Name, "err", err)
		}
	}
}
