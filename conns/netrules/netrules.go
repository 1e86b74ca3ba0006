// Package netrules reads the rules of a [conns.Networks] from a file, and reads it again when it
// has changed.
//
// A line of the file has a network or an address, and what applies to its clients:
//
//	# network           rule
//	192.0.2.0/24
//	198.51.100.7        reset until=2030-01-02T15:04:05Z reason=port scan
//	2001:db8::/32       deny   ; a comment
//	10.0.0.0/8          exempt
//	203.0.113.0/24      per-address=500 address-rate=50:200
//	2001:db8:1::/48     bits6=56
//
// The words are:
//
//	deny                 refuse connections; the rule of a line without words
//	reset                deny by a TCP reset
//	exempt               no limits per address
//	per-address=N        connections of one address, or unlimited
//	address-rate=N       connections per second of one address; with a burst N:BURST
//	bits4=N, bits6=N     length of the prefix by which addresses are counted
//	until=TIME           when the rule ceases to apply, in the form of RFC 3339
//	reason=TEXT          shown to operators; the rest of the line
//
// Empty lines and what follows "#" or ";" at the beginning of a line or after a blank are ignored,
// except in the text of a reason. [conns.NetworkRule] describes what the rules mean.
package netrules

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"goranch/conns"
	"goranch/transport"
)

const (
	maxRules  = 500_000
	maxFaults = 20 // that an error names
)

// Parse reads the lines of a file. The error names the first 20 invalid lines; then there are no
// rules.
func Parse(text []byte) (rules []conns.NetworkRule, err error) {
	var faults []error
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		r, ok, err := parseLine(strings.TrimRight(line, "\r\n"))
		if err == nil && ok && len(rules) == maxRules {
			return nil, fmt.Errorf("line %d: more than %d rules", n, maxRules)
		}
		if err != nil {
			if faults = append(faults, fmt.Errorf("line %d: %w", n, err)); len(faults) == maxFaults {
				faults = append(faults, errors.New("the other lines were not read"))
				break
			}
		} else if ok {
			rules = append(rules, r)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return rules, nil
}

// parseLine reads a line. ok is false if it has no rule.
func parseLine(line string) (r conns.NetworkRule, ok bool, err error) {
	line, reason, hasReason := cutReason(line)
	words := strings.Fields(line)
	if len(words) == 0 {
		if hasReason {
			return r, false, errors.New("a reason without a network")
		}
		return r, false, nil
	}
	if r.Prefix, err = ParseNetwork(words[0]); err != nil {
		return r, false, err
	}
	r.Reason = strings.TrimSpace(reason)
	acts := false
	for _, w := range words[1:] {
		acts = acts || !strings.HasPrefix(w, "until=")
		if err := setWord(&r, w); err != nil {
			return r, false, err
		}
	}
	r.Deny = r.Deny || !acts
	return r, true, new(conns.Networks).Add(r)
}

// cutReason removes the comment and the reason from a line.
func cutReason(line string) (rest, reason string, found bool) {
	blank := true // before i
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case blank && (c == '#' || c == ';'):
			return line[:i], "", false
		case blank && strings.HasPrefix(line[i:], "reason="):
			return line[:i], line[i+len("reason="):], true
		default:
			blank = c == ' ' || c == '\t'
		}
	}
	return line, "", false
}

// ParseNetwork reads a network, or an address as the network that contains it alone.
func ParseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if a, aerr := netip.ParseAddr(s); aerr == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		return p, fmt.Errorf("network %.80q: allowed are networks such as 10.0.0.0/8 and 2001:db8::/32, and addresses", s)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

const allowedWords = "deny, reset, exempt, per-address=N, address-rate=N[:BURST], bits4=N, bits6=N, until=TIME and reason=TEXT"

// setWord applies a word of a line to r.
func setWord(r *conns.NetworkRule, word string) (err error) {
	name, value, hasValue := strings.Cut(word, "=")
	allowed := "numbers from 1"
	switch {
	case word == "deny":
		r.Deny = true
	case word == "reset":
		r.Deny, r.Reset = true, true
	case word == "exempt":
		r.Exempt = true
	case !hasValue:
		return fmt.Errorf("%.80q: allowed are %s", word, allowedWords)
	case name == "per-address" && value == "unlimited":
		r.PerAddress = transport.NoLimit
	case name == "per-address":
		r.PerAddress, err = number(value)
		allowed += ", and unlimited"
	case name == "bits4":
		r.Bits4, err = number(value)
	case name == "bits6":
		r.Bits6, err = number(value)
	case name == "address-rate":
		r.AddressRate, err = parseRate(value)
		allowed = "numbers per second such as 100 or 0.5, with a burst such as 100:20"
	case name == "until":
		r.Until, err = time.Parse(time.RFC3339, value)
		allowed = "times such as 2030-01-02T15:04:05Z"
	default:
		return fmt.Errorf("%.80q: allowed are %s", word, allowedWords)
	}
	if err != nil {
		return fmt.Errorf("%.80q: allowed are %s", word, allowed)
	}
	return nil
}

var errNumber = errors.New("not a number from 1")

func number(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err == nil && (n < 1 || n > math.MaxInt32) {
		err = errNumber
	}
	return n, err
}

func parseRate(s string) (r conns.Rate, err error) {
	perSecond, burst, hasBurst := strings.Cut(s, ":")
	if r.PerSecond, err = strconv.ParseFloat(perSecond, 64); err == nil && hasBurst {
		r.Burst, err = number(burst)
	}
	if err == nil && !(r.PerSecond > 0 && r.PerSecond <= 1e9) {
		err = errNumber
	}
	return r, err
}

// Words returns the words of a rule but for its reason.
func Words(r conns.NetworkRule) string {
	var words []string
	add := func(is bool, format string, args ...any) {
		if is {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(r.Deny && !r.Reset, "deny")
	add(r.Reset, "reset")
	add(r.Exempt, "exempt")
	add(r.PerAddress > 0, "per-address=%d", r.PerAddress)
	add(r.PerAddress < 0, "per-address=unlimited")
	add(r.AddressRate.PerSecond > 0 && r.AddressRate.Burst == 0, "address-rate=%g", r.AddressRate.PerSecond)
	add(r.AddressRate.PerSecond > 0 && r.AddressRate.Burst > 0, "address-rate=%g:%d", r.AddressRate.PerSecond, r.AddressRate.Burst)
	add(r.Bits4 > 0, "bits4=%d", r.Bits4)
	add(r.Bits6 > 0, "bits6=%d", r.Bits6)
	add(!r.Until.IsZero(), "until=%s", r.Until.Format(time.RFC3339Nano))
	return strings.Join(words, " ")
}

// Format returns the line of a rule, without a line feed. Parse returns the same rule for it, but
// for its Origin.
func Format(r conns.NetworkRule) string {
	line := strings.TrimSuffix(r.Prefix.String()+" "+Words(r), " ")
	if r.Reason != "" {
		line += " reason=" + r.Reason
	}
	return line
}
