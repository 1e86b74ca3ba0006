package main

import (
	"crypto/tls"
	"errors"
	"runtime"

	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

// checkSockets reports values of --listen-sockets and --acceptors that do not fit together or to
// the address.
func (l *listenerConfig) checkSockets(all *faults) {
	n := l.Options.NumListenSockets
	switch {
	case n > 1 && runtime.GOOS != "linux":
		all.add("--listen-sockets %d: allowed on this system is only 1; only Linux distributes connections over sockets", n)
	case n > 1 && l.unix():
		all.add("--listen-sockets %d: allowed with --listen %q is only 1; Unix sockets cannot share an address", n, l.endpoint)
	case n > 1 && l.Addr.Inherited():
		all.add("--listen-sockets %d: allowed with --listen %q is only 1; an inherited socket is a single socket", n, l.endpoint)
	}
	if a := l.Options.NumAcceptors; a > 0 && a < n {
		all.add("--acceptors %d: allowed are numbers from %d, one for each of --listen-sockets", a, n)
	}
}

// checkListeners validates the options of all listeners with package ranch, for faults that the
// flags do not detect.
func (c *config) checkListeners() error {
	var all []error
	for _, l := range c.Listeners {
		if _, err := ranch.NewListener(l.Name, l.transport(&tls.Config{}), c.options(l), echo.Protocol{}); err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// transport returns the transport of a listener. tc is for listeners with TLS.
func (l *listenerConfig) transport(tc *tls.Config) transport.Transport {
	t := l.TCP
	if ip, ok := l.host(); ok && ip.Is4() {
		t.Network = "tcp4" // package net would listen on IPv6 too for 0.0.0.0
	}
	if l.Service.isOperators() {
		t.UnixMode = l.Access.unixMode()
	}
	if !l.TLS {
		return l.Proxies.wrap(t)
	}
	return l.Proxies.wrap(transport.TLS{TCP: t, Config: tc})
}

// tlsConfig returns the configuration of TLS. selfSigned is used if there are no certificate files.
func (l *listenerConfig) tlsConfig(selfSigned *tls.Certificate) *tls.Config {
	tc := &tls.Config{MinVersion: l.TLSMin}
	if l.Store != nil {
		return l.Store.Config(tc)
	}
	if selfSigned != nil {
		tc.Certificates = []tls.Certificate{*selfSigned}
	}
	return tc
}

// options returns the options of a listener.
func (c *config) options(l *listenerConfig) ranch.Options {
	o := l.Options
	o.Addr = l.Addr.String()
	if l.Name != c.Listeners[0].Name {
		o.Alarms = nil // they concern the process: one listener raises them for all
	}
	if l.Service.isOperators() { // they watch the drain of the others
		o.DrainDelay, o.DrainSpread = 0, 0
	}
	return o
}
