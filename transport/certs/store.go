package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/reload"
	"goranch/transport"
)

// Store holds the certificates of the last successful reload. Its methods may be called from any
// goroutine. It has no goroutine and need not be closed.
type Store struct {
	opts  Options
	cur   atomic.Pointer[set]
	files reload.Files // handshakes do not take its lock
	swap  sync.Mutex   // held to replace cur; not held while files are read
}

// Open reads the files. Its error reports all options and files that cannot be used.
func Open(o Options) (*Store, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o.Pairs, o.ClientCAs, o.TicketKeys = slices.Clone(o.Pairs), slices.Clone(o.ClientCAs), slices.Clone(o.TicketKeys)
	s := &Store{opts: o}
	s.files.Read, s.files.Tries = s.read, 3
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload checks the files now, for instance on SIGHUP, and reports whether new ones are in use. Its
// error reports the faults of the files, also if they were reported before; the previous content
// then stays in use.
func (s *Store) Reload() (changed bool, err error) { return s.files.Reload() }

// Run checks the files at each interval and reports changes to Notify until ctx ends. It always
// returns nil. Only one call may run at a time.
func (s *Store) Run(ctx context.Context) error {
	return s.files.Run(ctx, cmp.Or(s.opts.Interval, 10*time.Second), s.opts.Notify)
}

// read implements the function reload.Files.Read.
func (s *Store) read() (sum [32]byte, use func() error) {
	found := read(&s.opts)
	return found.sum, func() error {
		next, err := found.build(&s.opts)
		if err != nil {
			return err
		}
		s.swap.Lock()
		defer s.swap.Unlock()
		if next.keys == nil {
			next.keys, next.shared = s.ticketKeys()
		}
		s.cur.Store(next)
		return nil
	}
}

// Certificates describes the certificates in use, in the order of the options. Monitor their
// NotAfter.
func (s *Store) Certificates() []Certificate {
	list := slices.Clone(s.cur.Load().certs)
	for i := range list {
		list[i].Names = slices.Clone(list[i].Names)
	}
	return list
}

// Config returns a configuration for servers that always uses the current files. Its other settings
// are copied from base, which may be nil. Certificates and GetCertificate of base are ignored.
// GetConfigForClient of base is called first, and its result is used if it is not nil.
//
// If the Store has client CAs, they replace those of base, and certificates are always verified:
// NoClientCert becomes RequireAndVerifyClientCert, and the types without verification become those
// with it. Without client CAs from either source, no client certificate is valid. Sessions are
// resumed only under the same client CAs and ClientAuth. Call Config once for each policy.
func (s *Store) Config(base *tls.Config) *tls.Config {
	v := &view{store: s, base: base.Clone()}
	if v.base == nil {
		v.base = new(tls.Config)
	}
	v.first, v.base.GetConfigForClient = v.base.GetConfigForClient, nil
	v.base.Certificates, v.base.GetCertificate = nil, nil
	if len(s.opts.ClientCAs) > 0 {
		switch v.base.ClientAuth {
		case tls.RequestClientCert:
			v.base.ClientAuth = tls.VerifyClientCertIfGiven
		case tls.NoClientCert, tls.RequireAnyClientCert:
			v.base.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	return transport.OnHello(v.base, v.hello)
}

// view is a configuration returned by Config.
type view struct {
	store  *Store
	base   *tls.Config
	first  func(*tls.ClientHelloInfo) (*tls.Config, error)
	cached atomic.Pointer[setConfig]
}

// setConfig caches the configuration for a set while the set is the current one.
type setConfig struct {
	set    *set
	config *tls.Config
}

func (v *view) hello(_ context.Context, hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if v.first != nil {
		if c, err := v.first(hello); c != nil || err != nil {
			return c, err
		}
	}
	set, o := v.store.current(), &v.store.opts
	refuses := o.RefuseUnknown
	if hello.ServerName == "" {
		refuses = o.RefuseNameless
	}
	if refuses && set.lookup(hello.ServerName) == nil {
		return nil, unknownHost(hello.ServerName)
	}
	if c := v.cached.Load(); c != nil && c.set == set {
		return c.config, nil
	}
	c := v.base.Clone()
	c.GetCertificate = set.get
	if set.clientCAs != nil {
		c.ClientCAs = set.clientCAs
	} else if c.ClientCAs == nil {
		c.ClientCAs = x509.NewCertPool() // with nil, crypto/tls would use the roots of the system
	}
	if !c.SessionTicketsDisabled {
		c.SetSessionTicketKeys(set.derive(c.ClientAuth))
	}
	v.cached.Store(&setConfig{set, c})
	return c, nil
}

// SetTicketKeys replaces Options.TicketKeys: 1 to 16 keys, newest first. It returns an error for
// another number, and if TicketKeyFile is set.
func (s *Store) SetTicketKeys(keys [][32]byte) error {
	if len(keys) == 0 || len(keys) > maxTicketKeys || s.opts.TicketKeyFile != "" {
		return errTicketKeys
	}
	s.swap.Lock()
	defer s.swap.Unlock()
	next := *s.cur.Load()
	next.keys, next.shared = sharedKeys(keys), true
	s.cur.Store(&next)
	return nil
}
