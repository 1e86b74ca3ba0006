package admin

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"goranch/conns"
	"goranch/transport"
)

// scope is which connections a field is of.
type scope uint8

const (
	live scope = 1 << iota
	closed
)

func (s scope) String() string {
	if s == live {
		return "live"
	}
	return "closed"
}

// field is what a term of a filter looks at.
type field struct {
	name    string
	of      scope
	ops     []string
	compile func(op, value string) (func(*subject) bool, error)
}

func (f *field) takes(op string) bool { return slices.Contains(f.ops, op) }

var (
	equal   = []string{"=", "!="}
	ordered = []string{"<", "<=", ">", ">="}
	both    = slices.Concat(equal, ordered)
)

var fields = []field{
	{"id", live | closed, both, number(func(s *subject) uint64 { return s.info.ID })},
	{"listener", live | closed, equal, text(func(s *subject) string { return s.listener })},
	{"peer", live | closed, equal, peer},
	{"transport", live | closed, equal, text(func(s *subject) string { return s.info.Transport })},
	{"protocol", live | closed, equal, text(func(s *subject) string { return s.info.ProtocolName() })},
	{"state", live, equal, choice(states, func(s *subject) string { return s.info.State() })},
	{"tls", live, equal, flag(func(s *subject) bool { return s.info.TLS != nil })},
	{"sni", live, equal, text(func(s *subject) string { return tlsOf(s).ServerName })},
	{"alpn", live, equal, text(func(s *subject) string { return tlsOf(s).ALPN })},
	{"counted", live, equal, flag(func(s *subject) bool { return s.info.Counted })},
	{"age", live | closed, ordered, length((*subject).age)},
	{"idle", live, ordered, length(func(s *subject) time.Duration { return s.info.Idle })},
	{"read", live | closed, both, size(func(s *subject) uint64 { return s.info.Stats.BytesRead })},
	{"written", live | closed, both, size(func(s *subject) uint64 { return s.info.Stats.BytesWritten })},
	{"bytes", live | closed, both, size(func(s *subject) uint64 { return carried(s.info) })},
	{"reason", closed, equal, choice(reasons(), func(s *subject) string { return s.info.Reason.Error() })},
	{"served", closed, equal, flag(func(s *subject) bool { return s.info.Served })},
	{"ended", closed, ordered, length(func(s *subject) time.Duration { return s.now.Sub(s.info.Closed) })},
}

var states = []string{"handshaking", "serving", "ending"}

func reasons() []string {
	var all []string
	for i := range len(conns.Counters{}.Ended) {
		all = append(all, conns.Reason(i).Error())
	}
	return all
}

func fieldOf(name string, of scope) *field {
	for i := range fields {
		if f := &fields[i]; f.name == name && f.of&of != 0 {
			return f
		}
	}
	return nil
}

func fieldNames(of scope) []string {
	var all []string
	for _, f := range fields {
		if f.of&of != 0 {
			all = append(all, f.name)
		}
	}
	return all
}

func carried(i *conns.Info) uint64 { return i.Stats.BytesRead + i.Stats.BytesWritten }

func tlsOf(s *subject) conns.TLSInfo {
	if s.info.TLS == nil {
		return conns.TLSInfo{}
	}
	return *s.info.TLS
}

func text(get func(*subject) string) func(op, value string) (func(*subject) bool, error) {
	return func(op, value string) (func(*subject) bool, error) {
		want := op == "="
		return func(s *subject) bool { return (get(s) == value) == want }, nil
	}
}

// choice takes the words of all, blanks in which may be written as "-" or "_".
func choice(all []string, get func(*subject) string) func(op, value string) (func(*subject) bool, error) {
	return func(op, value string) (func(*subject) bool, error) {
		i := slices.IndexFunc(all, func(one string) bool { return one == value || dashed(one) == dashed(value) })
		if i < 0 {
			words := make([]string, len(all))
			for n, one := range all {
				words[n] = dashed(one)
			}
			return nil, fmt.Errorf("allowed are %s", strings.Join(words, ", "))
		}
		return text(get)(op, all[i])
	}
}

// dashed is a phrase as one word.
func dashed(s string) string { return strings.NewReplacer(": ", "-", " ", "-", "_", "-").Replace(s) }

func flag(get func(*subject) bool) func(op, value string) (func(*subject) bool, error) {
	return func(op, value string) (func(*subject) bool, error) {
		if value != "true" && value != "false" {
			return nil, errors.New("allowed are true and false")
		}
		want := (value == "true") == (op == "=")
		return func(s *subject) bool { return get(s) == want }, nil
	}
}

func number(get func(*subject) uint64) func(op, value string) (func(*subject) bool, error) {
	return func(op, value string) (func(*subject) bool, error) {
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return nil, errors.New("allowed are whole numbers")
		}
		return func(s *subject) bool { return compare(op, get(s), n) }, nil
	}
}

func size(get func(*subject) uint64) func(op, value string) (func(*subject) bool, error) {
	return func(op, value string) (func(*subject) bool, error) {
		n, err := parseSize(value)
		if err != nil {
			return nil, err
		}
		return func(s *subject) bool { return compare(op, get(s), n) }, nil
	}
}

func length(get func(*subject) time.Duration) func(op, value string) (func(*subject) bool, error) {
	return func(op, value string) (func(*subject) bool, error) {
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return nil, errors.New("allowed are times such as 500ms, 30s or 1h30m")
		}
		return func(s *subject) bool { return compare(op, get(s), d) }, nil
	}
}

func compare[T cmp.Ordered](op string, a, b T) bool {
	switch op {
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	case ">=":
		return a >= b
	case "!=":
		return a != b
	}
	return a == b
}

var units = map[string]float64{
	"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// parseSize reads a number of bytes, with a unit or without.
func parseSize(s string) (uint64, error) {
	end := strings.LastIndexAny(s, "0123456789.") + 1
	unit, known := units[strings.ToLower(s[end:])]
	if n, err := strconv.ParseUint(s[:end], 10, 64); err == nil && known && unit == 1 {
		return n, nil
	}
	n, err := strconv.ParseFloat(s[:end], 64)
	if err != nil || !known || !(n >= 0) || n*unit >= math.MaxUint64 {
		return 0, errors.New("allowed are sizes such as 512, 1MiB or 2.5GB, in B, KiB, MiB, GiB, TiB, kB, MB, GB and TB")
	}
	return uint64(n * unit), nil
}

// peer takes a network, an address, an address with a port, or the text of an address that is not of IP.
func peer(op, value string) (func(*subject) bool, error) {
	want := op == "="
	if p, ok := parseNetwork(value); ok {
		return func(s *subject) bool { return p.Contains(ipOf(s.info.RemoteAddr).Addr()) == want }, nil
	}
	if a, err := netip.ParseAddrPort(value); err == nil {
		a = plain(a)
		return func(s *subject) bool { return (ipOf(s.info.RemoteAddr) == a) == want }, nil
	}
	if strings.IndexByte("0123456789:[", value[0]) >= 0 {
		return nil, errors.New("allowed are networks such as 10.0.0.0/8, addresses such as 10.1.2.3 and [::1]:5555, and others as they are shown")
	}
	return func(s *subject) bool { return (addrString(s.info.RemoteAddr) == value) == want }, nil
}

// parseNetwork reads a network, or an address as one of its own.
func parseNetwork(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), true
}

// ipOf returns the zero value for addresses that are not of IP.
func ipOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return plain(t.AddrPort())
	}
	return netip.AddrPort{}
}

func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

func addrString(a net.Addr) string {
	if a == nil {
		return ""
	}
	return transport.AddrString(a)
}
