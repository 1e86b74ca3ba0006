package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/reload"
	"goranch/transport"
)

// Store holds the certificates that were good last. Its methods may be called from any
// goroutine. It has no goroutine of its own and nothing to close.
type Store struct {
	opts  Options
	cur   atomic.Pointer[set]
	files reload.Files // its lock is never taken by a handshake
	swap  sync.Mutex   // held to replace cur; never while files are read
}

// Open reads the files. Its error names every option and every file that cannot be used, with
// the reason, and wraps that of the system or one of this package.
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

// Reload looks at the files now, for instance on SIGHUP, and reports whether new ones
// are in use. Its error is what is wrong with the files, also if that was told before;
// what was good stays in use.
func (s *Store) Reload() (changed bool, err error) { return s.files.Reload() }

// Run looks at the files at each interval and reports to Notify, until ctx ends. It always
// returns nil. It may be started and ended at any time, but once at a time.
func (s *Store) Run(ctx context.Context) error {
	return s.files.Run(ctx, cmp.Or(s.opts.Interval, DefaultInterval), s.opts.Notify)
}

// read is that of the files.
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

// Certificates describes those in use, in the order of the options. Warn when NotAfter comes near.
func (s *Store) Certificates() []Certificate {
	list := slices.Clone(s.cur.Load().certs)
	for i := range list {
		list[i].Names = slices.Clone(list[i].Names)
	}
	return list
}

// NotAfter returns when the first of the certificates in use expires.
func (s *Store) NotAfter() time.Time {
	list := s.cur.Load().certs
	first := list[0].NotAfter
	for _, c := range list[1:] {
		if c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// Config returns a server's configuration with what the Store holds, then and in future. The
// rest is taken from base, which may be nil and is not kept: versions, cipher suites, ALPN,
// callbacks. Its Certificates and GetCertificate are replaced; so are its ClientCAs if the
// Store has some, and ClientAuth is then at least tls.VerifyClientCertIfGiven: NoClientCert
// becomes RequireAndVerifyClientCert, and the two kinds that verify nothing become their kinds
// that do. With no client CAs from anywhere no client's certificate is good. Its
// GetConfigForClient, if set, is asked first; when that returns nil the Store goes on.
//
// Sessions are resumed only under the client CAs under which they began. Who wants several
// policies over the same files calls Config several times.
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

// view is a Store seen by one listener.
type view struct {
	store  *Store
	base   *tls.Config
	first  func(*tls.ClientHelloInfo) (*tls.Config, error)
	cached atomic.Pointer[served]
}

// served is the configuration made of a set. It lives as long as the set is the current one.
type served struct {
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
		return nil, &UnknownHostError{Host: hello.ServerName}
	}
	if c := v.cached.Load(); c != nil && c.set == set {
		return c.config, nil
	}
	c := v.base.Clone()
	c.GetCertificate = set.get
	if set.clientCAs != nil {
		c.ClientCAs = set.clientCAs
	} else if c.ClientCAs == nil {
		c.ClientCAs = x509.NewCertPool() // nobody; crypto/tls would take the system's roots
	}
	if !c.SessionTicketsDisabled {
		c.SetSessionTicketKeys(set.derive(c.ClientAuth))
	}
	v.cached.Store(&served{set, c})
	return c, nil
}

// SetTicketKeys replaces the keys given by Options.TicketKeys: newest first, 1 to 16. The
// error wraps [ErrBadOption]; it is one as well when the keys come from TicketKeyFile.
func (s *Store) SetTicketKeys(keys [][32]byte) error {
	if len(keys) == 0 || len(keys) > maxTicketKeys || s.opts.TicketKeyFile != "" {
		return errors.Join(ErrBadOption, errTicketKeys)
	}
	s.swap.Lock()
	defer s.swap.Unlock()
	next := *s.cur.Load()
	next.keys, next.shared = sharedKeys(keys), true
	s.cur.Store(&next)
	return nil
}
