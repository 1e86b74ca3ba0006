package main

import (
	"strings"
	"time"

	"goranch/conns"
	"goranch/conns/netrules"
)

// bans are the rules for networks of clients, which apply to all listeners but those of operators, so
// that no ban locks them out.
type bans struct {
	Networks *conns.Networks
	File     *netrules.File // nil without --ban-file
	OnReload func(error)    // called after the file has changed; set before its Run
}

// bans reads the flag --ban-file and the file.
func (f *flags) bans(all *faults, interval time.Duration) *bans {
	b := &bans{Networks: new(conns.Networks)}
	if f.BanFile == "" {
		return b
	}
	var err error
	b.File, err = netrules.Open(netrules.Options{
		File: f.BanFile, Networks: b.Networks, Interval: interval, Notify: func(err error) { b.OnReload(err) }})
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			all.add("--ban-file: %s", strings.TrimSuffix(line, "\n"))
		}
	}
	return b
}

// logBanReload logs the result of reading a changed ban file, and closes the connections of clients
// that are banned now.
func (d *daemon) logBanReload(err error) {
	if err != nil {
		d.log.Error("ban file is invalid; the previous bans stay in use", "err", err)
		return
	}
	closed := 0
	for _, l := range d.server.Listeners() {
		closed += l.CloseBanned()
	}
	d.log.Info("ban file reloaded", "networks", d.Bans.Networks.Len(), "closed", closed)
}

// reloadBans reads the ban file at a signal.
func (d *daemon) reloadBans() {
	switch changed, err := d.Bans.File.Reload(); {
	case changed || err != nil:
		d.logBanReload(err)
	default:
		d.log.Info("ban file has not changed")
	}
}
