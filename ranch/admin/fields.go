package admin

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"goranch/conns"
	"goranch/protocol"
)

// scope says to which connections a field applies.
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

// field is a field of a filter term.
type field struct {
	name    string
	of      scope
	ops     []string
	compile compiler
}

// compiler returns the function that compares a connection with the value of a term.
type compiler func(op, value string) (func(*subject) bool, error)

func (f *field) allows(op string) bool { return slices.Contains(f.ops, op) }

var (
	equality = []string{"=", "!="}
	ordering = []string{"<", "<=", ">", ">="}
	anyOp    = slices.Concat(equality, ordering)
)

var fields = []field{
	{"id", live | closed, anyOp, number(func(s *subject) uint64 { return s.info.ID })},
	{"listener", live | closed, equality, text(func(s *subject) string { return s.listener })},
	{"peer", live | closed, equality, peer},
	{"transport", live | closed, equality, text(func(s *subject) string { return s.info.Transport })},
	{"protocol", live | closed, equality, anyText(func(s *subject) []string {
		return []string{protocolName(s.info.Protocol), labels(s.info.Labels).get("protocol")}
	})},
	{"user", live | closed, equality, label("user")},
	{"client", live | closed, equality, label("client")},
	{"state", live, equality, choice(states, func(s *subject) string { return s.info.State() })},
	{"tls", live, equality, boolean(func(s *subject) bool { return s.info.TLS != nil })},
	{"sni", live, equality, text(func(s *subject) string { return tlsOf(s).ServerName })},
	{"alpn", live, equality, text(func(s *subject) string { return tlsOf(s).ALPN })},
	{"counted", live, equality, boolean(func(s *subject) bool { return s.info.Counted })},
	{"age", live | closed, ordering, duration((*subject).age)},
	{"idle", live, ordering, duration(func(s *subject) time.Duration { return s.info.Idle })},
	{"read", live | closed, anyOp, size(func(s *subject) uint64 { return s.info.Stats.BytesRead })},
	{"written", live | closed, anyOp, size(func(s *subject) uint64 { return s.info.Stats.BytesWritten })},
	{"bytes", live | closed, anyOp, size(func(s *subject) uint64 { return totalBytes(s.info) })},
	{"reason", closed, equality, choice(reasons(), func(s *subject) string { return s.info.Reason.Error() })},
	{"served", closed, equality, boolean(func(s *subject) bool { return s.info.Served })},
	{"ended", closed, ordering, duration(func(s *subject) time.Duration { return s.now.Sub(s.info.Closed) })},
}

var states = []string{"handshaking", "login", "serving", "ending"}

func reasons() []string {
	var names []string
	for i := range len(conns.Counters{}.Ended) {
		names = append(names, conns.Reason(i).Error())
	}
	return names
}

func fieldOf(name string, of scope) *field {
	for i := range fields {
		if f := &fields[i]; f.name == name && f.of&of != 0 {
			return f
		}
	}
	if key, ok := strings.CutPrefix(name, labelPrefix); ok && isLabelKey(key) {
		return &field{name, live | closed, equality, label(key)}
	}
	return nil
}

func fieldNames(of scope) []string {
	var names []string
	for _, f := range fields {
		if f.of&of != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// totalBytes returns the bytes in both directions.
func totalBytes(i *conns.Info) uint64 { return i.Stats.BytesRead + i.Stats.BytesWritten }

func tlsOf(s *subject) conns.TLSInfo {
	if s.info.TLS == nil {
		return conns.TLSInfo{}
	}
	return *s.info.TLS
}

func text(get func(*subject) string) compiler {
	return func(op, value string) (func(*subject) bool, error) {
		want := op == "="
		return func(s *subject) bool { return (get(s) == value) == want }, nil
	}
}

// anyText is text for a field that equals each of several texts.
func anyText(get func(*subject) []string) compiler {
	return func(op, value string) (func(*subject) bool, error) {
		want := op == "="
		return func(s *subject) bool { return slices.Contains(get(s), value) == want }, nil
	}
}

// choice allows the given values, in which spaces may be written as "-" or "_".
func choice(values []string, get func(*subject) string) compiler {
	return func(op, value string) (func(*subject) bool, error) {
		i := slices.IndexFunc(values, func(v string) bool { return v == value || hyphenated(v) == hyphenated(value) })
		if i < 0 {
			words := make([]string, len(values))
			for n, v := range values {
				words[n] = hyphenated(v)
			}
			return nil, fmt.Errorf("allowed are %s", strings.Join(words, ", "))
		}
		return text(get)(op, values[i])
	}
}

// hyphenated returns a phrase as one word.
func hyphenated(s string) string {
	return strings.NewReplacer(": ", "-", " ", "-", "_", "-").Replace(s)
}

func boolean(get func(*subject) bool) compiler {
	return func(op, value string) (func(*subject) bool, error) {
		if value != "true" && value != "false" {
			return nil, errors.New("allowed are true and false")
		}
		want := (value == "true") == (op == "=")
		return func(s *subject) bool { return get(s) == want }, nil
	}
}

func number(get func(*subject) uint64) compiler {
	return func(op, value string) (func(*subject) bool, error) {
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return nil, errors.New("allowed are whole numbers")
		}
		return func(s *subject) bool { return compare(op, get(s), n) }, nil
	}
}

func size(get func(*subject) uint64) compiler {
	return func(op, value string) (func(*subject) bool, error) {
		n, err := parseSize(value)
		if err != nil {
			return nil, err
		}
		return func(s *subject) bool { return compare(op, get(s), n) }, nil
	}
}

func duration(get func(*subject) time.Duration) compiler {
	return func(op, value string) (func(*subject) bool, error) {
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return nil, errors.New("allowed are durations such as 500ms, 30s or 1h30m")
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

// units are the units of sizes in bytes, in lower case.
var units = map[string]float64{
	"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// parseSize reads a size in bytes, with or without a unit.
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

// peer allows a network, an IP address with or without a port, or another address as tables show
// it.
func peer(op, value string) (func(*subject) bool, error) {
	want := op == "="
	if p, ok := parseNetwork(value); ok {
		return func(s *subject) bool { return p.Contains(ipOf(s.info.RemoteAddr).Addr()) == want }, nil
	}
	if a, err := netip.ParseAddrPort(value); err == nil {
		a = unmap(a)
		return func(s *subject) bool { return (ipOf(s.info.RemoteAddr) == a) == want }, nil
	}
	if strings.IndexByte("0123456789:[", value[0]) >= 0 {
		return nil, errors.New("allowed are networks such as 10.0.0.0/8, addresses such as 10.1.2.3 and [::1]:5555, and other addresses as tables show them")
	}
	return func(s *subject) bool { return (addrString(s.info.RemoteAddr) == value) == want }, nil
}

// protocolName returns the result of the protocol's method Name() string, or its type if it has
// none.
func protocolName(p protocol.Protocol) string {
	switch p := p.(type) {
	case nil:
		return ""
	case interface{ Name() string }:
		return p.Name()
	default:
		return fmt.Sprintf("%T", p)
	}
}
