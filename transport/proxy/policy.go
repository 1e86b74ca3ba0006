package proxy

import (
	"fmt"
	"net"
	"net/netip"

	"goranch/internal/engine"
	"goranch/transport"
)

// Policy says what a peer's header is worth.
//
// All but [Pass] wait for the first bytes of the peer, to see whether they are a header,
// and fail with [ErrTimeout] if there are none: in a protocol in which the server speaks
// first, clients that send no header need Pass.
type Policy uint8

const (
	// Require: a connection without a header is refused with [ErrNoHeader].
	Require Policy = iota + 1
	// Use: a header holds if there is one; without one the peer is the client itself.
	Use
	// Ignore: a header is taken away if there is one, and not believed.
	Ignore
	// Refuse: a connection with a header is refused with [ErrRefused].
	Refuse
	// Pass: nothing is looked at; a header is payload like anything else.
	Pass
	afterPolicies
)

var policyNames = [afterPolicies]string{"default", "require", "use", "ignore", "refuse", "pass"}

// String returns the policy in lower case, "default" for 0.
func (p Policy) String() string {
	if p < afterPolicies {
		return policyNames[p]
	}
	return fmt.Sprintf("Policy(%d)", uint8(p))
}

func (p Policy) or(def Policy) Policy {
	if p == 0 {
		return def
	}
	return p
}

// policy returns what holds for a peer.
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

// behindProxy reports whether a header from peer would be believed: then the limits per address
// apply to the client that it names, not to peer.
func (t Transport) behindProxy(peer net.Addr) bool {
	p := t.policy(peer)
	return p == Require || p == Use
}

func init() {
	engine.BehindProxy = func(t any, peer net.Addr) bool {
		for {
			switch p := t.(type) {
			case Transport:
				return p.behindProxy(peer)
			case *Transport:
				return p.behindProxy(peer)
			}
			u, ok := t.(transport.Unwrapper)
			if !ok {
				return false
			}
			t = u.Unwrap()
		}
	}
}

func (t Transport) checkPolicies() (faults []error) {
	policy := func(field string, p Policy) {
		if p >= afterPolicies {
			faults = append(faults, fmt.Errorf("option %s %v: allowed are Require, Use, Ignore, Refuse, Pass, and 0 for the default", field, p))
		}
	}
	seen := make(map[netip.Prefix]bool, len(t.Rules))
	for i, r := range t.Rules {
		policy(fmt.Sprintf("Rules[%d].Policy", i), r.Policy)
		net := r.Net.Masked()
		switch field := fmt.Sprintf("option Rules[%d].Net %v", i, r.Net); {
		case !r.Net.IsValid():
			faults = append(faults, fmt.Errorf("%s: allowed are networks such as 10.0.0.0/8 and 2001:db8::/32", field))
		case r.Net.Addr().Is4In6():
			faults = append(faults, fmt.Errorf("%s: IPv4 is written as such, like 10.0.0.0/8", field))
		case seen[net]:
			faults = append(faults, fmt.Errorf("%s: a network has one rule at most", field))
		}
		seen[net] = true
	}
	policy("Default", t.Default)
	policy("Local", t.Local)
	return faults
}
