package main

import (
	"errors"
	"net/netip"
	"strings"

	"goranch/transport"
	"goranch/transport/proxy"
)

// proxies are the proxies whose connections must begin with a PROXY header. The zero value is none.
type proxies struct {
	Networks []netip.Prefix
	Local    bool // Unix sockets
}

func parseProxies(s string) (p proxies, err error) {
	if s == "" {
		return p, nil
	}
	for _, w := range strings.Split(s, ",") {
		if w == "local" {
			p.Local = true
			continue
		}
		network, err := parsePrefix(w)
		if err != nil {
			return p, errors.New("allowed are networks such as 10.0.0.0/8, addresses, and local, separated by commas")
		}
		p.Networks = append(p.Networks, network)
	}
	return p, nil
}

func (p proxies) any() bool { return len(p.Networks) > 0 || p.Local }

// wrap returns t, wrapped to read the PROXY header if there are proxies.
func (p proxies) wrap(t transport.Transport) transport.Transport {
	if !p.any() {
		return t
	}
	pt := proxy.Transport{Inner: t}
	for _, n := range p.Networks {
		pt.Rules = append(pt.Rules, proxy.Rule{Net: n, Policy: proxy.Require})
	}
	if p.Local {
		pt.Local = proxy.Require
	}
	return pt
}
