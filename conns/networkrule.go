package conns

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"goranch/internal/option"
)

// NetworkRule says what applies to the clients of a network. Behind a proxy that names the client,
// the client's address counts.
type NetworkRule struct {
	// Prefix is the network. Its address is masked; an IPv4-mapped prefix of at least 96 bits is
	// that of the IPv4 network.
	Prefix netip.Prefix

	// Deny refuses connections, for the reason [Banned], before a handshake of TLS. A
	// [protocol.Refuser] sends its rejection message, unless the transport requires a handshake.
	Deny bool
	// Reset closes denied connections by a TCP reset, without a message. It requires Deny.
	Reset bool

	// Exempt admits clients without regard to the limits per address, those of a [Shared] included.
	// All other limits apply. It excludes the fields below and Deny.
	Exempt bool
	// PerAddress and AddressRate replace those of the Limits, and those of a [Shared] that has such
	// limits. 0 replaces nothing; transport.NoLimit is no limit of PerAddress.
	PerAddress  int
	AddressRate Rate
	// Bits4 and Bits6 are the lengths of the prefixes by which IPv4 and IPv6 addresses are counted,
	// from that of the Prefix to 32 and 128. 0 is 32, and 64 or the length of a longer Prefix.
	Bits4, Bits6 int

	// Until is when the rule ceases to apply. The zero Time is never.
	Until time.Time
	// Reason is shown to operators and in the log: up to 200 bytes of UTF-8 without control
	// characters.
	Reason string
	// Origin says where the rule comes from, in the same form; see [Networks.Replace]. "" is an
	// origin like any other.
	Origin string
}

// bits returns the length of the prefix by which ip is counted; 0 is the default.
func (r *NetworkRule) bits(ip netip.Addr) int {
	if ip.Is4() {
		return r.Bits4
	}
	if r.Bits6 != 0 {
		return r.Bits6
	}
	return max(r.Prefix.Bits(), defaultBits6)
}

// normalPrefix returns p in normal form, and whether it is valid.
func normalPrefix(p netip.Prefix) (netip.Prefix, bool) {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), p.IsValid()
}

// normalize brings the prefix into normal form and returns an error that names every fault.
func (r *NetworkRule) normalize() error {
	var f option.Faults
	p, ok := normalPrefix(r.Prefix)
	if !ok {
		f.Bad("Prefix", r.Prefix, "networks such as 10.0.0.0/8 and 2001:db8::/32")
	}
	r.Prefix = p
	if r.Reset && !r.Deny {
		f.Bad("Reset", true, "false, and true with Deny")
	}
	limits := r.PerAddress != 0 || r.AddressRate != Rate{} || r.Bits4 != 0 || r.Bits6 != 0
	if r.Deny && (r.Exempt || limits) {
		f.Bad("Deny", true, "rules without Exempt and limits")
	}
	if r.Exempt && limits {
		f.Bad("Exempt", true, "rules without limits")
	}
	f.CountOrNoLimit("PerAddress", r.PerAddress, "0 for that of the listener")
	f.Add(r.AddressRate.check("AddressRate"))
	r.checkBits(&f, "Bits4", r.Bits4, 32, p.Addr().Is4())
	r.checkBits(&f, "Bits6", r.Bits6, 128, p.Addr().Is6())
	checkText(&f, "Reason", r.Reason)
	checkText(&f, "Origin", r.Origin)
	if err := f.Err(); err != nil {
		return fmt.Errorf("rule for %v: %w", p, err)
	}
	return nil
}

func (r *NetworkRule) checkBits(f *option.Faults, field string, n, most int, applies bool) {
	least := max(r.Prefix.Bits(), 0)
	switch {
	case n == 0:
	case !applies:
		f.Bad(field, n, "0 for this prefix, which has no such addresses")
	case n < least || n > most:
		f.Bad(field, n, fmt.Sprintf("%d to %d for this prefix, and 0 for the default", least, most))
	}
}

// maxText is how many bytes a Reason and an Origin may have.
const maxText = 200

func checkText(f *option.Faults, field, s string) {
	if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) {
		f.Bad(field, fmt.Sprintf("%.80q", s), fmt.Sprintf("texts of up to %d bytes of UTF-8 without control characters", maxText))
	}
}

func unprintable(c rune) bool { return !unicode.IsPrint(c) }
