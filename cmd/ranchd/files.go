package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/certs"
)

// store opens the certificate files, if any are given. Files that nothing would use are a
// fault: somebody believes that his traffic is encrypted.
func (f *flags) store(bad *faults, used bool, notify func(error)) *certs.Store {
	refuse := read(bad, "--sni-unknown", f.SNIUnknown, oneOf("default and refuse", map[string]bool{"default": false, "refuse": true}))
	interval := never(read(bad, "--reload-interval", f.ReloadInterval, positive))
	fault := func(format string, args ...any) { *bad = append(*bad, fmt.Errorf(format, args...)) }
	before := len(*bad)
	for i := len(f.Key); i < len(f.Cert); i++ {
		fault("--key is missing: --cert %q needs the file with its key", f.Cert[i])
	}
	for i := len(f.Cert); i < len(f.Key); i++ {
		fault("--cert is missing: --key %q needs the file with its certificate", f.Key[i])
	}
	if len(f.Cert) == 0 {
		for _, file := range f.ClientCA {
			fault("--client-ca %q: allowed is it only with --cert and --key", file)
		}
		if refuse {
			fault("--sni-unknown %q: allowed is it only with --cert and --key", f.SNIUnknown)
		}
	} else if !used {
		fault("--cert %q: no --listen uses TLS: use tls://host:port, tls+unix:/path, tls+fd:N or tls+systemd:NAME", f.Cert[0])
	}
	if len(*bad) > before || len(f.Cert) == 0 {
		return nil
	}
	o := certs.Options{ClientCAs: f.ClientCA, RefuseUnknown: refuse, Interval: interval, Notify: notify}
	for i := range f.Cert {
		o.Pairs = append(o.Pairs, certs.Pair{Cert: f.Cert[i], Key: f.Key[i]})
	}
	s, err := certs.Open(o)
	for _, line := range faultLines(err) {
		fault("%s", line)
	}
	return s
}

// faultLines returns what is wrong with files, each with the flag that named it.
func faultLines(err error) (lines []string) {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSuffix(line, "\n")
		for _, flag := range [][2]string{{"certificate ", "--cert "}, {"key ", "--key "}, {"client CAs ", "--client-ca "}} {
			if rest, ok := strings.CutPrefix(line, flag[0]); ok {
				line = flag[1] + strings.Replace(rest, `", key "`, `", --key "`, 1)
				break
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// inUse is which certificates have been told of. Signals and the store's Run may come at once.
type inUse struct {
	mu    sync.Mutex
	known map[string]bool // by fingerprint; nil before the start
}

// logCertificates says which certificates are new, and what clients will say of those in use.
func (d *daemon) logCertificates() {
	d.inUse.mu.Lock()
	defer d.inUse.mu.Unlock()
	first, now := d.inUse.known == nil, map[string]bool{}
	for _, c := range d.Store.Certificates() {
		now[c.Fingerprint] = true
		log := d.log.With("cert", c.Cert, "names", strings.Join(c.Names, " "), "sha256", colons(c.Fingerprint), "from", c.NotBefore, "until", c.NotAfter)
		if !first && !d.inUse.known[c.Fingerprint] {
			log.Info("a new certificate is in use")
		}
		if why := outOfDate(c.NotBefore, c.NotAfter, time.Now()); why != "" {
			log.Warn(why)
		}
	}
	d.inUse.known = now
}

// reloaded is told that the files have changed.
func (d *daemon) reloaded(err error) {
	if err != nil {
		d.log.Error("the certificate files cannot be used; what was good stays in use", "err", errors.New(strings.Join(faultLines(err), "; ")))
		return
	}
	d.log.Info("the certificate files have changed and are in use for new connections")
	d.logCertificates()
}

// reload reads the files when a signal asks for it, and always says what came of it.
func (d *daemon) reload() {
	switch changed, err := d.Store.Reload(); {
	case changed || err != nil:
		d.reloaded(err)
	default:
		d.log.Info("the certificate files have not changed")
	}
}

// follow reads the files anew when they change, until end is called.
func (d *daemon) follow() (end func()) {
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

// observeTLS returns an observer that logs the TLS parameters of each TLS connection that was served.
func observeTLS(log *slog.Logger) func(ranch.Event) {
	return func(e ranch.Event) {
		if e.Kind == ranch.ConnEnded && e.Served && log.Enabled(context.Background(), slog.LevelDebug) {
			logTLS(log, e.Ref, e.Conn)
		}
	}
}

func logTLS(log *slog.Logger, ref string, conn *transport.Conn) {
	st, ok := conn.TLS()
	if !ok {
		return
	}
	log = log.With("listener", ref, "conn", conn.ID(), "version", tls.VersionName(st.Version), "sni", st.ServerName, "resumed", st.DidResume)
	if id := transport.IdentityOf(st); id != nil {
		log = log.With("client", id.Certificate.Subject.String(), "client_sha256", colons(id.Fingerprint))
	}
	log.Debug("connection was over TLS")
}
