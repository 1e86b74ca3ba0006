package main

import (
	"errors"
	"net/netip"
	"strings"

	"goranch/transport"
	"goranch/transport/proxy"
)

// proxies are those whose PROXY header is required, and believed. The zero value is nobody.
type proxies struct {
	Networks []netip.Prefix
	Local    bool
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
		net, err := netip.ParsePrefix(w)
		if addr, aerr := netip.ParseAddr(w); aerr == nil {
			net, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || net.Addr().Zone() != "" {
			return p, errors.New("allowed are networks such as 10.0.0.0/8, addresses, and local, separated by commas")
		}
		p.Networks = append(p.Networks, net.Masked())
	}
	return p, nil
}

func (p proxies) any() bool { return len(p.Networks) > 0 || p.Local }

// before returns t, with the header read before it if there are any proxies.
func (p proxies) before(t transport.Transport) transport.Transport {
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
