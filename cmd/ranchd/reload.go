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

// reload reads the files at a signal and logs the result, including that nothing has changed.
func (d *daemon) reload() {
	switch changed, err := d.Store.Reload(); {
	case changed || err != nil:
		d.logReload(err)
	default:
		d.log.Info("certificate files have not changed")
	}
}

// watchCertificates reloads the files when they change, until stop is called.
func (d *daemon) watchCertificates() (stop func()) {
	if d.Store == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { d.Store.Run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}
