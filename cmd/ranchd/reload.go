package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// certLog records which certificates have been logged. Reloads by a signal and by the store's Run
// can be concurrent.
type certLog struct {
	mu     sync.Mutex
	logged map[string]bool // by fingerprint; nil before the start
}

// logCertificates logs certificates that are new since the last call, and certificates that are
// outside their validity period.
func (d *daemon) logCertificates() {
	d.certLog.mu.Lock()
	defer d.certLog.mu.Unlock()
	first, logged := d.certLog.logged == nil, map[string]bool{}
	for _, c := range d.Store.Certificates() {
		logged[c.Fingerprint] = true
		log := d.log.With("cert", c.Cert, "names", strings.Join(c.Names, " "), "sha256", colons(c.Fingerprint), "from", c.NotBefore, "until", c.NotAfter)
		if !first && !d.certLog.logged[c.Fingerprint] {
			log.Info("new certificate in use")
		}
		if msg := validityWarning(c.NotBefore, c.NotAfter, time.Now()); msg != "" {
			log.Warn(msg)
		}
	}
	d.certLog.logged = logged
}

// validityWarning returns a log message for a certificate outside its validity period, otherwise
// "".
func validityWarning(from, until, now time.Time) string {
	switch {
	case now.Before(from):
		return "certificate is not valid yet"
	case now.After(until):
		return "certificate has expired"
	}
	return ""
}

// logReload logs the result of reading changed files.
func (d *daemon) logReload(err error) {
	if err != nil {
		d.log.Error("certificate files are invalid; the previous certificates stay in use", "err", errors.New(strings.Join(faultLines(err), "; ")))
		return
	}
	d.log.Info("certificate files reloaded")
	d.logCertificates()
}

// logTokenReload logs the result of reading a changed token file.
func (d *daemon) logTokenReload(err error) {
	if err != nil {
		d.log.Error("token file is invalid; the previous tokens stay in use", "err", err)
		return
	}
	d.log.Info("token file reloaded")
}

// canReload reports whether there is something that a signal reloads.
func (d *daemon) canReload() bool {
	return d.Store != nil || d.Access.Tokens != nil || d.Bans.File != nil || d.accessLog != nil
}

// reload reads the files at a signal and logs the result, including that nothing has changed. It
// opens the access log again.
func (d *daemon) reload() {
	if d.Store != nil {
		switch changed, err := d.Store.Reload(); {
		case changed || err != nil:
			d.logReload(err)
		default:
			d.log.Info("certificate files have not changed")
		}
	}
	if d.Access.Tokens != nil {
		switch changed, err := d.Access.Tokens.Reload(); {
		case changed || err != nil:
			d.logTokenReload(err)
		default:
			d.log.Info("token file has not changed")
		}
	}
	if d.Bans.File != nil {
		d.reloadBans()
	}
	d.reopenAccessLog()
}

// watchFiles reloads certificate, token and ban files when they change, until stop is called.
func (d *daemon) watchFiles() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	if d.Store != nil {
		wg.Go(func() { d.Store.Run(ctx) })
	}
	if d.Access.Tokens != nil {
		wg.Go(func() { d.Access.Tokens.Run(ctx) })
	}
	if d.Bans.File != nil {
		wg.Go(func() { d.Bans.File.Run(ctx) })
	}
	return func() {
		cancel()
		wg.Wait()
	}
}
