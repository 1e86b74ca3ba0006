package main

import (
	"context"
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
	for _, s := range d.config().files.stores {
		for _, c := range s.Certificates() {
			if logged[c.Fingerprint] {
				continue
			}
			logged[c.Fingerprint] = true
			log := d.log.With("cert", c.Cert, "names", strings.Join(c.Names, " "), "sha256", colons(c.Fingerprint), "from", c.NotBefore, "until", c.NotAfter)
			if !first && !d.certLog.logged[c.Fingerprint] {
				log.Info("new certificate in use")
			}
			if msg := validityWarning(c.NotBefore, c.NotAfter, time.Now()); msg != "" {
				log.Warn(msg)
			}
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
func (d *daemon) logReload(s *certFiles, err error) {
	if err != nil {
		d.log.Error("certificate files are invalid; the previous certificates stay in use", "err", s.faultsOf(err))
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
	c := d.config()
	return d.accessLog != nil || c.File != "" || len(c.files.stores) > 0 || len(c.files.tokens) > 0 || c.files.bans != nil
}

// reloadFiles reads the certificate, token and ban files, and logs the result, for certificates
// including that nothing has changed. It opens the access log again.
func (d *daemon) reloadFiles() {
	files := d.config().files
	unchanged := len(files.stores) > 0
	for _, s := range files.stores {
		if changed, err := s.Reload(); changed || err != nil {
			unchanged = false
			d.logReload(s, err)
		}
	}
	if unchanged {
		d.log.Info("certificate files have not changed")
	}
	for _, t := range files.tokens {
		if changed, err := t.Reload(); changed || err != nil {
			d.logTokenReload(err)
		} else {
			d.log.Info("token file has not changed")
		}
	}
	if files.bans != nil {
		d.reloadBans(files.bans)
	}
	d.reopenAccessLog()
}

// watchers reload certificate, token and ban files when they change.
type watchers struct {
	mu      sync.Mutex
	cancel  map[any]context.CancelFunc // by file
	wg      sync.WaitGroup
	stopped bool
}

// update starts watchers for new files, and stops those of files that are not in use any more.
func (w *watchers) update(files openFiles) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	previous := w.cancel
	w.cancel = map[any]context.CancelFunc{}
	for _, s := range files.stores {
		w.watch(previous, s, func(ctx context.Context) { s.Run(ctx) })
	}
	for _, t := range files.tokens {
		w.watch(previous, t, func(ctx context.Context) { t.Run(ctx) })
	}
	if b := files.bans; b != nil {
		w.watch(previous, b, func(ctx context.Context) { b.Run(ctx) })
	}
	for _, cancel := range previous {
		cancel()
	}
}

// watch keeps the watcher of a file, or starts one.
func (w *watchers) watch(previous map[any]context.CancelFunc, file any, run func(context.Context)) {
	if cancel := previous[file]; cancel != nil {
		w.cancel[file] = cancel
		delete(previous, file)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel[file] = cancel
	w.wg.Go(func() { run(ctx) })
}

// stop stops all watchers and waits for them.
func (w *watchers) stop() {
	w.mu.Lock()
	w.stopped = true
	for _, cancel := range w.cancel {
		cancel()
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// reuse makes the configuration use the opened files of a previous one where the settings are the
// same: their watchers and the keys of TLS sessions stay.
func (c *config) reuse(previous *config) {
	if b, old := c.files.bans, previous.files.bans; b != nil && old != nil && b.path == old.path {
		c.files.bans = old
	}
	for key, s := range c.files.stores {
		old := previous.files.stores[key]
		if old == nil {
			continue
		}
		c.files.stores[key] = old
		for _, l := range c.Listeners {
			if l.Store == s {
				l.Store = old
			}
		}
	}
	for file, t := range c.files.tokens {
		old := previous.files.tokens[file]
		if old == nil {
			continue
		}
		c.files.tokens[file] = old
		for _, l := range c.Listeners {
			if l.Access.Tokens == t {
				l.Access.Tokens = old
			}
		}
	}
}
