package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"goranch/internal/settings"
	"goranch/protocol/shell/access"
	"goranch/transport/certs"
)

// certFiles are certificate files in use. Listeners with the same files share them.
type certFiles struct {
	*certs.Store
	label func(line string) string // of an error of the store, with the flags or keys of the files
}

// openFiles are the files that a configuration has opened, by their settings.
type openFiles struct {
	stores map[string]*certFiles
	tokens map[string]*access.Tokens
	bans   *banFile // nil without --ban-file
}

// store opens the certificate files of a listener, or returns nil if there are none. Files without
// a listener that uses TLS are a fault, because the operator expects encryption.
func (c *config) store(all *faults, f *flags, usesTLS bool) *certFiles {
	interval := orNoTimeout(read(all, "--reload-interval", f.ReloadInterval, positive))
	refuse := read(all, "--sni-unknown", f.SNIUnknown, oneOf("default and refuse", map[string]bool{"default": false, "refuse": true}))
	before := all.count()
	f.checkCertFlags(all, refuse, usesTLS)
	if all.count() > before || len(f.Cert) == 0 {
		return nil
	}
	key := fmt.Sprintf("%q %q %q %v", f.Cert, f.Key, f.ClientCA, refuse)
	if s := c.files.stores[key]; s != nil {
		return s
	}
	s := &certFiles{label: func(line string) string { return all.label(certFault(line)) }}
	o := certs.Options{ClientCAs: f.ClientCA, RefuseUnknown: refuse, Interval: interval, Notify: func(err error) { c.OnReload(s, err) }}
	for i := range f.Cert {
		o.Pairs = append(o.Pairs, certs.Pair{Cert: f.Cert[i], Key: f.Key[i]})
	}
	var err error
	s.Store, err = certs.Open(o)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			all.add("%s", certFault(strings.TrimSuffix(line, "\n")))
		}
		return nil
	}
	if c.files.stores == nil {
		c.files.stores = map[string]*certFiles{}
	}
	c.files.stores[key] = s
	return s
}

// checkCertFlags reports certificates without keys, and settings that need certificates or TLS.
func (f *flags) checkCertFlags(all *faults, refuse, usesTLS bool) {
	for i := len(f.Key); i < len(f.Cert); i++ {
		all.add("--key is missing: --cert %s needs the file with its key", settings.Quote(f.Cert[i]))
	}
	for i := len(f.Cert); i < len(f.Key); i++ {
		all.add("--cert is missing: --key %s needs the file with its certificate", settings.Quote(f.Key[i]))
	}
	checkOneFile(all, "--cert", f.Cert)
	checkOneFile(all, "--key", f.Key)
	checkOneFile(all, "--client-ca", f.ClientCA)
	switch {
	case len(f.Cert) == 0:
		for _, file := range f.ClientCA {
			all.add("--client-ca %s: allowed only with --cert and --key", settings.Quote(file))
		}
		if refuse {
			all.add("--sni-unknown %q: allowed only with --cert and --key", f.SNIUnknown)
		}
	case !usesTLS:
		all.add("--cert %s: no --listen uses TLS; use tls://host:port, tls+unix:/path, tls+fd:N or tls+systemd:NAME", settings.Quote(f.Cert[0]))
	}
}

// checkOneFile reports values with several files, as one may write them in the environment, and the
// content of a file in place of its name.
func checkOneFile(all *faults, flag string, values []string) {
	for _, v := range values {
		if strings.Contains(v, "-----BEGIN ") {
			all.add("%s %s: allowed are names of files, not their content", flag, settings.Quote(v))
		} else if _, err := os.Stat(v); err != nil && len(strings.Fields(v)) > 1 {
			all.add("%s %s: no such file; a value is one file, and the environment can hold only one; repeat the flag for more", flag, settings.Quote(v))
		}
	}
}

// certFault returns a line of an error of package certs with the flags of the files that it names.
func certFault(line string) string {
	for _, flag := range [][2]string{{"certificate ", "--cert "}, {"key ", "--key "}, {"client CAs ", "--client-ca "}} {
		if rest, ok := strings.CutPrefix(line, flag[0]); ok {
			return flag[1] + strings.Replace(rest, `", key "`, `", --key "`, 1)
		}
	}
	return line
}

// faultsOf returns an error of the files as one text.
func (s *certFiles) faultsOf(err error) error {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		lines = append(lines, s.label(strings.TrimSuffix(line, "\n")))
	}
	return errors.New(strings.Join(lines, "; "))
}
