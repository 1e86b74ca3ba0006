package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"goranch/internal/engine"
	"goranch/internal/option"
	"goranch/transport"
)

// Policy is the treatment of the headers of a peer.
//
// All policies but [Pass] wait for the first bytes of the peer to find out whether they are a
// header; the handshake fails if none arrive within HeaderTimeout. In a protocol in which the
// server sends first, clients without a header need Pass.
type Policy string

const (
	// Require refuses connections without a header, with [ErrNoHeader].
	Require Policy = "require"
	// Use accepts headers. A peer without a header is the client itself.
	Use Policy = "use"
	// Ignore removes a header and does not use it.
	Ignore Policy = "ignore"
	// Refuse refuses connections with a header, with [ErrRefused].
	Refuse Policy = "refuse"
	// Pass does not look for headers: a header is payload.
	Pass Policy = "pass"
)

func (p Policy) or(def Policy) Policy {
	option.Default(&p, def)
	return p
}

// policy returns the policy for a peer.
func (t Transport) policy(peer net.Addr) Policy {
	ip, ok := ipOf(peer)
	if !ok {
		return t.Local.or(Refuse)
	}
	found, bits := t.Default.or(Refuse), -1
	for _, r := range t.Rules {
		if r.Net.Bits() > bits && r.Net.Contains(ip) {
			found, bits = r.Policy.or(Require), r.Net.Bits()
		}
	}
	return found
}

func ipOf(a net.Addr) (netip.Addr, bool) {
	ta, ok := a.(*net.TCPAddr)
	if !ok || ta == nil {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(ta.IP)
	return ip.Unmap(), ok
}

// acceptsHeaderFrom reports whether a header from peer is used. The limits per address then apply
// to the client that it names.
func (t Transport) acceptsHeaderFrom(peer net.Addr) bool {
	p := t.policy(peer)
	return p == Require || p == Use
}

func init() {
	engine.IsHeaderError = func(err error) bool {
		return errors.Is(err, ErrNoHeader) || errors.Is(err, ErrRefused) || errors.Is(err, ErrBadHeader)
	}
	engine.BehindProxy = func(t any, peer net.Addr) bool {
		for {
			switch p := t.(type) {
			case Transport:
				return p.acceptsHeaderFrom(peer)
			case *Transport:
				return p.acceptsHeaderFrom(peer)
			}
			u, ok := t.(transport.Unwrapper)
			if !ok {
				return false
			}
			t = u.Unwrap()
		}
	}
}

func (t Transport) checkPolicies(f *option.Faults) {
	check := func(field string, p Policy) {
		switch p {
		case "", Require, Use, Ignore, Refuse, Pass:
		default:
			f.Bad(field, p, `require, use, ignore, refuse, pass, and "" for the default`)
		}
	}
	seen := make(map[netip.Prefix]bool, len(t.Rules))
	for i, r := range t.Rules {
		check(fmt.Sprintf("Rules[%d].Policy", i), r.Policy)
		masked := r.Net.Masked()
		switch field := fmt.Sprintf("Rules[%d].Net", i); {
		case !r.Net.IsValid():
			f.Bad(field, r.Net, "networks such as 10.0.0.0/8 and 2001:db8::/32")
		case r.Net.Addr().Is4In6():
			f.Bad(field, r.Net, "IPv4 networks in the form 10.0.0.0/8")
		case seen[masked]:
			f.Bad(field, r.Net, "networks without another rule")
		}
		seen[masked] = true
	}
	check("Default", t.Default)
	check("Local", t.Local)
}
