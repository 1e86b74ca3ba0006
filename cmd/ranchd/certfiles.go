package main

import (
	"strings"
	"time"

	"goranch/transport/certs"
)

// store opens the certificate files, or returns nil if none are given. Files without a listener
// that uses TLS are a fault, because the operator expects encryption.
func (f *flags) store(all *faults, usesTLS bool, interval time.Duration, onReload func(error)) *certs.Store {
	refuse := read(all, "--sni-unknown", f.SNIUnknown, oneOf("default and refuse", map[string]bool{"default": false, "refuse": true}))
	before := len(*all)
	for i := len(f.Key); i < len(f.Cert); i++ {
		all.add("--key is missing: --cert %q needs the file with its key", f.Cert[i])
	}
	for i := len(f.Cert); i < len(f.Key); i++ {
		all.add("--cert is missing: --key %q needs the file with its certificate", f.Key[i])
	}
	if len(f.Cert) == 0 {
		for _, file := range f.ClientCA {
			all.add("--client-ca %q: allowed only with --cert and --key", file)
		}
		if refuse {
			all.add("--sni-unknown %q: allowed only with --cert and --key", f.SNIUnknown)
		}
	} else if !usesTLS {
		all.add("--cert %q: no --listen uses TLS; use tls://host:port, tls+unix:/path, tls+fd:N or tls+systemd:NAME", f.Cert[0])
	}
	if len(*all) > before || len(f.Cert) == 0 {
		return nil
	}
	o := certs.Options{ClientCAs: f.ClientCA, RefuseUnknown: refuse, Interval: interval, Notify: onReload}
	for i := range f.Cert {
		o.Pairs = append(o.Pairs, certs.Pair{Cert: f.Cert[i], Key: f.Key[i]})
	}
	s, err := certs.Open(o)
	for _, line := range faultLines(err) {
		all.add("%s", line)
	}
	return s
}

// faultLines returns the lines of an error of package certs, with the flags of the files that it
// names.
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
