// Package certs keeps the certificates of a TLS server: it reads them from PEM files, picks
// one by the host name that the client asks for (SNI), and follows the files when they change.
//
//	store, err := certs.Open(certs.Options{
//		Pairs:  []certs.Pair{{Cert: "/etc/tls/tls.crt", Key: "/etc/tls/tls.key"}},
//		Notify: func(err error) { … }, // nil: new certificates are in use
//	})
//	…
//	go store.Run(ctx) // looks at the files every 10 s
//	tr := transport.TLS{Config: store.Config(&tls.Config{NextProtos: []string{"lines/1"}})}
//
// Everything is exchanged at once, or nothing: if one file is missing, half written, or a key
// does not belong to its certificate, what was good before stays in use, and the fault is
// reported. Handshakes that begin after the exchange see the new files; connections that are
// there live on.
//
// Files are compared by what is in them, so it does not matter how they are replaced:
// written over, renamed, or behind a symbolic link, as Kubernetes does it with secrets.
package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"goranch/transport"
)

// DefaultInterval is how often Run looks at the files.
const DefaultInterval = 10 * time.Second

var (
	// ErrBadOption is wrapped by the error of Open for an option that cannot be used.
	ErrBadOption = errors.New("bad option")
	// ErrBadPair is wrapped when a certificate cannot be used with its key, or is cut off.
	ErrBadPair = errors.New("not a certificate and its key")
	// ErrBadClientCA is wrapped when a bundle of client CAs is empty, damaged or cut off.
	ErrBadClientCA = errors.New("not a bundle of certificates")
	// ErrBadTicketKeys is wrapped when a file of session ticket keys is damaged, or empty.
	ErrBadTicketKeys = errors.New("not a list of session ticket keys")
)

// Pair names the PEM files of a certificate, its chain after it, and of its key. Both may be
// one file.
type Pair struct{ Cert, Key string }

// Options say what a Store keeps.
type Options struct {
	// Pairs are the certificates, at least one. Each serves the names that it is good
	// for; the first is also the default. Of several for one name, with keys of
	// different kinds, the first that the client supports is taken.
	Pairs []Pair

	// ClientCAs are PEM files with the certificates of those who may sign clients'
	// certificates. None: the ClientCAs of the configuration given to Config.
	ClientCAs []string

	// RefuseUnknown ends the handshake of a client that asks for a host no certificate is good
	// for, with [UnknownHostError] here and the alert unrecognized_name there. The default is
	// to present the first certificate. RefuseNameless does the same to clients that name no
	// host, as those do that connect to an IP address.
	RefuseUnknown  bool
	RefuseNameless bool

	// TicketKeys encrypt session tickets: the first new ones, the others those which were
	// issued before; at most 16. Nodes behind one load balancer have to share them, or clients
	// that reach another node cannot resume. Change them once a day by [Store.SetTicketKeys],
	// or by TicketKeyFile: put a new key second everywhere, then first everywhere, and drop the
	// oldest.
	//
	// None: keys of this process, new every 24 hours and good for seven days.
	TicketKeys [][32]byte
	// TicketKeyFile is a file with such keys, read anew like the others: a key a line, newest
	// first, as 64 hexadecimal digits ("openssl rand -hex 32"). Empty lines and those that
	// begin with # are skipped. It excludes TicketKeys.
	TicketKeyFile string

	// Interval is the time between two looks at the files, 0 is 10 s ([DefaultInterval]).
	// Negative: Run never looks, only [Store.Reload] does.
	Interval time.Duration

	// Notify, if set, is called by Run, in its goroutine, when it has found the files
	// changed: with nil if they are in use from now on, else with what is wrong with them. A
	// fault is told once, and again only when the files have changed once more.
	Notify func(error)
}

func (o *Options) validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w %s", ErrBadOption, fmt.Sprintf(format, args...)))
	}
	if len(o.Pairs) == 0 {
		fault("Pairs: none; at least one certificate with its key is needed")
	}
	for i, p := range o.Pairs {
		if p.Cert == "" || p.Key == "" {
			fault("Pairs[%d] %+v: both files must be named", i, p)
		}
	}
	for i, f := range o.ClientCAs {
		if f == "" {
			fault("ClientCAs[%d] %q: a file must be named", i, f)
		}
	}
	if len(o.TicketKeys) > maxTicketKeys {
		fault("TicketKeys: %d keys; allowed are at most %d", len(o.TicketKeys), maxTicketKeys)
	}
	if len(o.TicketKeys) > 0 && o.TicketKeyFile != "" {
		fault("TicketKeyFile %q: only without TicketKeys", o.TicketKeyFile)
	}
	return errors.Join(faults...)
}

// UnknownHostError is the reason for which a client was refused: no certificate is good
// for the host it asked for, or it named none. It wraps [transport.ErrUnknownHost].
type UnknownHostError struct {
	Host string // as the client wrote it; "" if it named none
}

func (e *UnknownHostError) Error() string {
	if e.Host == "" {
		return "the client names no host"
	}
	return fmt.Sprintf("no certificate for host %q", e.Host)
}

// Unwrap returns [transport.ErrUnknownHost].
func (e *UnknownHostError) Unwrap() error { return transport.ErrUnknownHost }

// Certificate describes one that is in use.
type Certificate struct {
	Pair
	// Names are the host names that it serves, wildcards as they are.
	Names []string
	// NotBefore and NotAfter are when it is good, its chain included.
	NotBefore, NotAfter time.Time
	// Fingerprint is its SHA-256, as 64 hexadecimal digits in lower case.
	Fingerprint string

	cert *tls.Certificate
}
