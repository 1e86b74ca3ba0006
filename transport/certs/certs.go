// Package certs provides TLS configurations for servers whose certificates are read from PEM files,
// chosen by the host name in the ClientHello (SNI), and reloaded when the files change.
//
//	store, err := certs.Open(certs.Options{
//		Pairs:  []certs.Pair{{Cert: "/etc/tls/tls.crt", Key: "/etc/tls/tls.key"}},
//		Notify: func(err error) { … }, // nil: new certificates are in use
//	})
//	…
//	go store.Run(ctx) // checks the files every 10 s
//	tr := transport.TLS{Config: store.Config(&tls.Config{NextProtos: []string{"lines/1"}})}
//
// A reload replaces all files or none: if a file is missing or incomplete, or a key does not belong
// to its certificate, the previous certificates stay in use and the error is reported. New
// handshakes use the new files; existing connections are not affected.
//
// Files are compared by content, so they may be overwritten, renamed, or replaced by changing a
// symbolic link, as Kubernetes does with secrets.
package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"goranch/internal/option"
)

var (
	errBadPair       = errors.New("not a certificate and its key") // incomplete, or not its key
	errBadClientCA   = errors.New("not a bundle of certificates")  // empty, damaged or incomplete
	errBadTicketKeys = errors.New("not a list of session ticket keys")
)

// Pair names the PEM files of a certificate, followed by its chain, and of its key. Both may be in
// one file.
type Pair struct{ Cert, Key string }

// Options configure a [Store].
type Options struct {
	// Pairs are the certificates; at least one is required. Each serves the names that it is valid
	// for, and the first is the default. Of several for one name, with keys of different types, the
	// first that the client supports is used.
	Pairs []Pair

	// ClientCAs are PEM files with the certificates of the CAs for client certificates. If there
	// are none, the ClientCAs of the configuration given to [Store.Config] apply.
	ClientCAs []string

	// RefuseUnknown refuses clients that request a host without a certificate, with
	// [transport.ErrUnknownHost] and the alert unrecognized_name. By default they get the first
	// certificate. RefuseNameless does the same for clients that request no host, such as those
	// that connect to an IP address.
	RefuseUnknown  bool
	RefuseNameless bool

	// TicketKeys encrypt session tickets, at most 16: the first encrypts new tickets, the others
	// decrypt older ones. Servers behind one load balancer must share them; otherwise sessions
	// cannot be resumed on another server. Rotate them daily by [Store.SetTicketKeys] or
	// TicketKeyFile: add a new key as the second one on all servers, then make it the first on all
	// servers, and remove the oldest. Without them each process creates a key every 24 hours, which
	// is valid for seven days.
	TicketKeys [][32]byte
	// TicketKeyFile is a file with such keys, which is reloaded like the others: one key per line,
	// newest first, as 64 hexadecimal digits ("openssl rand -hex 32"). Empty lines and lines that
	// begin with # are ignored. It excludes TicketKeys.
	TicketKeyFile string

	// Interval is the time between two checks of the files by [Store.Run]. 0 is 10 s;
	// [transport.NoTimeout], like any negative value, disables them: then only [Store.Reload]
	// reads the files.
	Interval time.Duration

	// Notify, if set, is called by Run, in its goroutine, after the files have changed: with nil if
	// they are in use, or else with the reason why not. An error is reported once for each change.
	Notify func(error)
}

func (o *Options) validate() error {
	var f option.Faults
	if len(o.Pairs) == 0 {
		f.Bad("Pairs", "[]", "one or more certificates with their keys")
	}
	for i, p := range o.Pairs {
		if p.Cert == "" || p.Key == "" {
			f.Bad(fmt.Sprintf("Pairs[%d]", i), fmt.Sprintf("%+v", p), "names of two files")
		}
	}
	for i, name := range o.ClientCAs {
		if name == "" {
			f.Bad(fmt.Sprintf("ClientCAs[%d]", i), `""`, "names of files")
		}
	}
	if len(o.TicketKeys) > maxTicketKeys {
		f.Bad("TicketKeys", fmt.Sprintf("with %d keys", len(o.TicketKeys)), fmt.Sprintf("up to %d keys", maxTicketKeys))
	}
	if len(o.TicketKeys) > 0 && o.TicketKeyFile != "" {
		f.Bad("TicketKeyFile", fmt.Sprintf("%q", o.TicketKeyFile), `"" if TicketKeys is set`)
	}
	return f.Err()
}

// Certificate describes a certificate in use.
type Certificate struct {
	Pair
	// Names are the host names that it serves, wildcards included.
	Names []string
	// NotBefore and NotAfter bound the time in which the certificate and its chain are valid.
	NotBefore, NotAfter time.Time
	// Fingerprint is the SHA-256 digest, as 64 lower-case hexadecimal digits.
	Fingerprint string

	cert *tls.Certificate
}
