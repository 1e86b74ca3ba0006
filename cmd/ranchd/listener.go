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
// the endpoints.
func (c *config) checkSockets(all *faults) {
	n, o := c.Options.NumListenSockets, c.Options
	if n > 1 {
		if runtime.GOOS != "linux" {
			all.add("--listen-sockets %d: allowed on this system is only 1; only Linux distributes connections over sockets", n)
		}
		for _, e := range c.Endpoints {
			if e.unix() {
				all.add("--listen-sockets %d: allowed with --listen %q is only 1; Unix sockets cannot share an address", n, e)
			}
			if e.Addr.Inherited() {
				all.add("--listen-sockets %d: allowed with --listen %q is only 1; an inherited socket is a single socket", n, e)
			}
		}
	}
	if o.NumAcceptors > 0 && o.NumAcceptors < n {
		all.add("--acceptors %d: allowed are numbers from %d, one for each of --listen-sockets", o.NumAcceptors, n)
	}
}

// checkListeners validates the options of all listeners with package ranch, for faults that the
// flags do not detect.
func (c *config) checkListeners() error {
	var all faults
	for _, e := range c.Endpoints {
		if _, err := ranch.NewListener(e.Name, c.transport(e, nil), c.options(e), echo.Protocol{}); err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// transport returns the transport of an endpoint. selfSigned is used if there are no certificate
// files.
func (c *config) transport(e endpoint, selfSigned *tls.Certificate) transport.Transport {
	t := c.TCP
	if ip, ok := e.host(); ok && ip.Is4() {
		t.Network = "tcp4" // package net would listen on IPv6 too for 0.0.0.0
	}
	wrap := c.Proxies.wrap
	if e.Service.isOperators() {
		wrap = func(t transport.Transport) transport.Transport { return t }
		t.UnixMode = c.Access.unixMode()
	}
	if !e.TLS {
		return wrap(t)
	}
	tc := &tls.Config{MinVersion: c.TLSMin}
	if c.Store != nil {
		tc = c.Store.Config(tc)
	} else if selfSigned != nil {
		tc.Certificates = []tls.Certificate{*selfSigned}
	}
	return wrap(transport.TLS{TCP: t, Config: tc})
}

// options returns the options of an endpoint's listener.
func (c *config) options(e endpoint) ranch.Options {
	o := c.Options
	o.Addr = e.Addr.String()
	if e.Name != c.Endpoints[0].Name {
		o.Alarms = nil // they concern the process: one listener raises them for all
	}
	if e.Service.isOperators() { // they watch the drain of the others
		o.DrainDelay, o.DrainSpread = 0, 0
	} else {
		o.Networks = c.Bans.Networks
	}
	if c.DefaultCap && e.Service == topicsService {
		o.MaxConnections = topicsConnections
	}
	return o
}

func anyTLS(endpoints []endpoint) bool {
	for _, e := range endpoints {
		if e.TLS {
			return true
		}
	}
	return false
}
