package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"goranch/internal/listenaddr"
	"goranch/protocol/session"
	"goranch/protocol/session/boltstore"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/ranch/upgrade"
	"goranch/transport"
)

// upgradeFlags are the flags of upgrades.
type upgradeFlags struct {
	UpgradeTimeout   string `kind:"duration" change:"restart" placeholder:"TIME" default:"30s" help:"Time limit of an upgrade, until the new process serves connections. Default: ${default}."`
	UpgradeDrain     string `kind:"duration0" change:"now" placeholder:"TIME" default:"30s" help:"Period after an upgrade over which the old process asks its connections to stop, each at a random time. --shutdown-timeout begins after it. Default: ${default}."`
	UpgradeProcesses string `kind:"processes" change:"restart" placeholder:"N" default:"5" help:"Maximum number of processes at the same time: the new one, the old one, and those of earlier upgrades whose connections have not ended. Default: ${default}."`
}

// upgradeConfig configures upgrades.
type upgradeConfig struct {
	Timeout, Drain time.Duration
	Processes      int
}

// maxUpgradeDrain is the longest --upgrade-drain. Every process has a limit, so that they cannot
// pile up.
const maxUpgradeDrain = 24 * time.Hour

func (f *upgradeFlags) upgradeConfig(all *faults) upgradeConfig {
	limited := func(lowest time.Duration) func(string) (time.Duration, error) {
		return func(s string) (time.Duration, error) {
			d, err := time.ParseDuration(s)
			if err != nil || d < lowest || d > maxUpgradeDrain {
				return 0, fmt.Errorf("allowed are durations from %v to %v", lowest, maxUpgradeDrain)
			}
			return d, nil
		}
	}
	return upgradeConfig{
		Timeout:   read(all, "--upgrade-timeout", f.UpgradeTimeout, limited(time.Millisecond)),
		Drain:     read(all, "--upgrade-drain", f.UpgradeDrain, limited(0)),
		Processes: read(all, "--upgrade-processes", f.UpgradeProcesses, number(2, 100)),
	}
}

// Limits of a replaced process besides those of its connections.
const (
	// settleTime is how long connections that were accepted last may continue before any is asked
	// to stop: their first request may be on its way.
	settleTime = time.Second
	// exitTime is the time to close the services, and to wait for an earlier process.
	exitTime = 30 * time.Second
	// longestShutdown stands for a shutdown timeout without a limit.
	longestShutdown = time.Hour
)

// limit returns the time after which a replaced process is ended.
func (c *config) limit() time.Duration {
	return settleTime + c.Upgrade.Drain + min(c.ShutdownTimeout, longestShutdown) + exitTime
}

// newUpgrader sets the upgrader of the process. In a successor it has the sockets of the
// predecessor.
func (d *daemon) newUpgrader() (err error) {
	c := d.config()
	d.upgrader, err = upgrade.New(upgrade.Options{
		Timeout: c.Upgrade.Timeout, Limit: c.limit(), MaxProcesses: c.Upgrade.Processes, Logger: d.log,
		HandOver: d.notify.handOver,
	})
	return err
}

// failSuccessor tells a predecessor, if there is one, why this process cannot replace it.
func failSuccessor(reason string) {
	if u, err := upgrade.New(upgrade.Options{Logger: slog.New(slog.DiscardHandler)}); err == nil {
		u.Fail(errors.New(strings.TrimSpace(reason)))
	}
}

// parseOrFail is parse. A predecessor learns of the faults.
func parseOrFail(args []string, stdout, stderr io.Writer) (c *config, code int, done bool) {
	var faults strings.Builder
	c, code, done = parse(args, stdout, io.MultiWriter(stderr, &faults))
	if done && code != exitOK {
		failSuccessor(faults.String())
	}
	return c, code, done
}

// upgradable returns t with sockets that are handed over.
func (d *daemon) upgradable(name string, t transport.Transport) transport.Transport {
	return d.upgrader.Transport(name, t)
}

// inheritAddress makes a listener with a default address use the one that the predecessor has found
// instead.
func (d *daemon) inheritAddress(r *running) {
	if !r.config.Default {
		return
	}
	l := r.config
	for _, s := range d.upgrader.Inherited(l.Name) {
		a, err := listenaddr.Parse(s)
		if err != nil || a == l.Addr {
			return
		}
		moved := *l
		moved.Addr, moved.Wanted, moved.Instead = a, l.Addr, l.Addr.String()
		r.config = &moved
	}
}

// openStore opens the session store of a service in a directory, or returns nil if there is none.
func (d *daemon) openStore(dir string, s serviceKey) (session.Store, error) {
	if dir == "" {
		return nil, nil
	}
	name := strings.ReplaceAll(s.String(), " ", "-")
	open := func() (session.Store, error) { return boltstore.Open(filepath.Join(dir, name+".db")) }
	return d.upgrader.Store(name, open)
}

// ready begins to accept. In a successor it makes the predecessor hand over.
func (d *daemon) ready(ctx context.Context) error {
	if err := d.upgrader.Ready(ctx); err != nil {
		d.log.Error("replacing the predecessor failed; it continues to serve", "err", err)
		return err
	}
	d.notify.ready()
	return nil
}

// errConsole is the error of an upgrade of a process that uses its terminal.
var errConsole = errors.New("upgrade: ranchd with --console has the terminal, which it cannot hand over; this process continues to serve")

// errClusterUpgrade is the error of an upgrade of a node: two processes cannot have the store of
// the embedded NATS server and its address, and the connections of the replaced process would be
// without.
var errClusterUpgrade = errors.New("upgrade: a node with an embedded NATS server cannot hand it over: restart the nodes, one after the other; clients resume their sessions at the others. This process continues to serve")

// upgrade starts the program again and hands over the sockets. No reload happens meanwhile.
func (d *daemon) upgrade(ctx context.Context, progress func(string)) (admin.Upgraded, error) {
	if d.config().Console {
		return admin.Upgraded{}, errConsole
	}
	if d.cluster != nil && d.cluster.engine.Embedded() {
		d.log.Error("upgrade refused", "err", errClusterUpgrade)
		return admin.Upgraded{}, errClusterUpgrade
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	if d.ended || d.stopping.Err() != nil {
		return admin.Upgraded{}, errStopping
	}
	d.log.Info("upgrade begins", "pid", os.Getpid())
	r, err := d.upgrader.Upgrade(ctx, func(text string) {
		d.log.Info("upgrade progress", "text", text)
		progress(text)
	})
	if err != nil {
		d.log.Error("upgrade failed; this process continues to serve", "err", err)
		return admin.Upgraded{}, err
	}
	d.log.Info("upgrade succeeded; this process drains its connections", "successor", r.PID, "sockets", r.Sockets, "closed", strings.Join(r.Closed, " "),
		"duration", r.Duration, "drain", d.config().Upgrade.Drain)
	return admin.Upgraded(r), nil
}

// drainReplaced drains the listeners of a process that was replaced. A first signal to stop, the
// end of drain, shortens it.
func (d *daemon) drainReplaced(drain, abort context.Context) error {
	settle := time.NewTimer(settleTime)
	defer settle.Stop()
	select {
	case <-settle.C:
	case <-drain.Done():
	}
	spread := d.config().Upgrade.Drain
	if drain.Err() != nil {
		spread = 0
	}
	for _, r := range d.all() {
		r.l.ChangeOptions(func(o *ranch.Options) {
			o.DrainDelay, o.DrainSpread = 0, spread
			if r.config.Service.isOperators() { // they watch the drain of the others
				o.DrainSpread = 0
			}
		})
	}
	abort, cancel := context.WithTimeout(abort, d.config().limit()-exitTime)
	defer cancel()
	defer context.AfterFunc(drain, func() {
		for _, r := range d.all() {
			if !r.config.Service.isOperators() {
				go r.l.Stop() // ends the spread of the drain
			}
		}
	})()
	return d.drain(abort)
}

// awaitPredecessor waits for the sessions of an earlier process, which are stored through this one.
func (d *daemon) awaitPredecessor(replaced bool) {
	limit := closeTimeout
	if replaced {
		limit = d.config().limit()
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := d.upgrader.WaitPredecessor(ctx); err != nil {
		d.log.Warn("an earlier process has not ended; what its sessions change is lost", "err", err)
	}
}
