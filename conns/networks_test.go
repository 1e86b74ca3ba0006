package conns_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"goranch/conns"
)

var comparePrefixes = cmpopts.EquateComparable(netip.Prefix{})

func deny(prefix string) conns.NetworkRule {
	return conns.NetworkRule{Prefix: netip.MustParsePrefix(prefix), Deny: true}
}

func exempt(prefix string) conns.NetworkRule {
	return conns.NetworkRule{Prefix: netip.MustParsePrefix(prefix), Exempt: true}
}

func newNetworks(t testing.TB, rules ...conns.NetworkRule) *conns.Networks {
	t.Helper()
	n := new(conns.Networks)
	if err := n.Add(rules...); err != nil {
		t.Fatal(err)
	}
	return n
}

// The rule with the longest prefix applies, whatever form the address has.
func TestNetworksLookup(t *testing.T) {
	n := newNetworks(t, deny("10.0.0.0/8"), exempt("10.1.2.3/32"), deny("::ffff:192.0.2.0/120"), deny("2001:db8::/32"),
		exempt("2001:db8:0:1::/64"), deny("198.51.100.7/24"))
	for addr, want := range map[string]string{
		"10.9.9.9":           "10.0.0.0/8",
		"10.1.2.3":           "10.1.2.3/32",
		"::ffff:10.1.2.4":    "10.0.0.0/8",
		"11.0.0.1":           "",
		"192.0.2.200":        "192.0.2.0/24",
		"::ffff:192.0.2.200": "192.0.2.0/24",
		"198.51.100.9":       "198.51.100.0/24",
		"2001:db8::1":        "2001:db8::/32",
		"2001:db8:0:1::9%e0": "2001:db8:0:1::/64",
		"2001:db9::1":        "",
		"::1":                "",
	} {
		r, ok := n.Lookup(netip.MustParseAddr(addr))
		got := ""
		if ok {
			got = r.Prefix.String()
		}
		if got != want {
			t.Errorf("Lookup(%s): got the rule for %q, want %q", addr, got, want)
		}
	}
	for name, n := range map[string]*conns.Networks{"nil": nil, "empty": {}, "rules": n} {
		if _, ok := n.Lookup(netip.Addr{}); ok {
			t.Errorf("%s: got a rule for the zero address, want none", name)
		}
	}
	if got := n.Len(); got != 6 {
		t.Errorf("Len: got %d, want 6", got)
	}
}

// A bad rule changes nothing, and the error names each fault.
func TestNetworksRefuseBadRules(t *testing.T) {
	good := netip.MustParsePrefix("10.0.0.0/8")
	for want, r := range map[string]conns.NetworkRule{
		"option Prefix": {Deny: true},
		"option Reset true: allowed are false, and true with Deny": {Prefix: good, Reset: true},
		"option Deny true":                  {Prefix: good, Deny: true, PerAddress: 1},
		"option Exempt true":                {Prefix: good, Exempt: true, Bits4: 24},
		"option PerAddress -2":              {Prefix: good, PerAddress: -2},
		"option AddressRate":                {Prefix: good, AddressRate: conns.Rate{PerSecond: -1}},
		"option Bits4 7: allowed are 8":     {Prefix: good, Bits4: 7},
		"option Bits4 33":                   {Prefix: good, Bits4: 33},
		"option Bits6 64: allowed are 0":    {Prefix: good, Bits6: 64},
		"option Reason \"a\\nb\"":           {Prefix: good, Reason: "a\nb"},
		"option Reason \"\\x1b[31m\"":       {Prefix: good, Reason: "\x1b[31m"},
		"option Origin \"\\xff\"":           {Prefix: good, Origin: "\xff"},
		"up to 200 bytes":                   {Prefix: good, Reason: strings.Repeat("x", 201)},
		"rule for 10.0.0.0/8: option Bits4": {Prefix: good, Bits4: -1},
	} {
		n := newNetworks(t, deny("192.0.2.0/24"))
		for name, change := range map[string]func(...conns.NetworkRule) error{
			"Add":     n.Add,
			"Set":     func(r ...conns.NetworkRule) error { return n.Set(r) },
			"Replace": func(r ...conns.NetworkRule) error { return n.Replace(r[1].Origin, r) },
		} {
			if err := change(deny("203.0.113.0/24"), r); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", name, err, want)
			}
			if diff := cmp.Diff([]conns.NetworkRule{deny("192.0.2.0/24")}, n.Rules(), comparePrefixes); diff != "" {
				t.Errorf("%s: rules after an error (-want +got):\n%s", name, diff)
			}
		}
	}
	many := make([]conns.NetworkRule, 100)
	if err := new(conns.Networks).Set(many); err == nil || !strings.Contains(err.Error(), "80 rules were not checked") {
		t.Errorf("100 bad rules: got %v, want 20 faults and the number of other rules", err)
	}
}

// The rules of one origin can be replaced without those of others. Of several rules for a prefix
// the one that was added last applies, and the others when it is gone.
func TestNetworksOrigins(t *testing.T) {
	of := func(origin string, r conns.NetworkRule) conns.NetworkRule {
		r.Origin = origin
		return r
	}
	n := new(conns.Networks)
	check := func(what string, want ...conns.NetworkRule) {
		t.Helper()
		if diff := cmp.Diff(want, n.Rules(), comparePrefixes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(n.Replace("file", []conns.NetworkRule{deny("10.0.0.0/8"), deny("192.0.2.0/24")}))
	do(n.Add(of("operator", exempt("10.0.0.0/8")), of("operator", deny("2001:db8::/32"))))
	check("rules of both", of("operator", exempt("10.0.0.0/8")), of("file", deny("10.0.0.0/8")),
		of("file", deny("192.0.2.0/24")), of("operator", deny("2001:db8::/32")))
	do(n.Replace("file", []conns.NetworkRule{exempt("10.0.0.0/8"), deny("10.0.0.0/8")}))
	check("the file has changed", of("operator", exempt("10.0.0.0/8")), of("file", deny("10.0.0.0/8")),
		of("operator", deny("2001:db8::/32")))
	do(n.Replace("operator", nil))
	check("without those of the operator", of("file", deny("10.0.0.0/8")))
	do(n.Add(of("operator", exempt("10.0.0.0/8"))))
	removed := n.Remove(netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("172.16.0.0/12"), netip.Prefix{})
	if diff := cmp.Diff([]conns.NetworkRule{of("operator", exempt("10.0.0.0/8")), of("file", deny("10.0.0.0/8"))}, removed, comparePrefixes); diff != "" {
		t.Errorf("Remove (-want +got):\n%s", diff)
	}
	check("all removed")
	do(n.Add(of("operator", deny("10.0.0.0/8"))))
	do(n.Set([]conns.NetworkRule{deny("192.0.2.0/24")}))
	check("Set", deny("192.0.2.0/24"))
}

// When the time of a rule has passed, the next one applies: of another origin, or of a shorter
// prefix.
func TestNetworksExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := func(r conns.NetworkRule, d time.Duration, origin string) conns.NetworkRule {
			r.Until, r.Origin = time.Now().Add(d), origin
			return r
		}
		n := newNetworks(t, deny("10.0.0.0/8"), limited(exempt("10.1.0.0/16"), time.Hour, ""),
			limited(deny("10.1.2.0/24"), 2*time.Minute, "file"), limited(exempt("10.1.2.0/24"), time.Minute, "operator"))
		for _, want := range []string{"operator", "file", "10.1.0.0/16", "10.1.0.0/16"} {
			r, _ := n.Lookup(netip.MustParseAddr("10.1.2.3"))
			if got := r.Origin; got != want && r.Prefix.String() != want {
				t.Errorf("after %v: got the rule for %v of %q, want %s", time.Now(), r.Prefix, r.Origin, want)
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Hour)
		if r, _ := n.Lookup(netip.MustParseAddr("10.1.2.3")); r.Prefix.String() != "10.0.0.0/8" {
			t.Errorf("an hour later: got the rule for %v, want 10.0.0.0/8", r.Prefix)
		}
		if got := len(n.Rules()); got != 1 {
			t.Errorf("Rules: got %d, want 1", got)
		}
		if got := n.Remove(netip.MustParsePrefix("10.1.0.0/16")); len(got) != 0 {
			t.Errorf("Remove: got %v, want none", got)
		}
		for i := range 10_000 { // bans that are never looked up again
			if err := n.Add(limited(deny(fmt.Sprintf("172.16.%d.%d/32", i>>8, i&255)), time.Second, "")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := n.Len(); got > 2000 {
			t.Errorf("got %d prefixes in the table after 10,000 bans of a second, want at most 2000", got)
		}
	})
}

// A look-up in any table has the same result as a search through the list.
func TestNetworksAgainstAList(t *testing.T) {
	prefix := rapid.Custom(func(t *rapid.T) netip.Prefix { // close to each other, so that they overlap
		if rapid.Bool().Draw(t, "IPv6") {
			a := netip.AddrFrom16([16]byte{0x20, 1, 7: rapid.Byte().Draw(t, "byte 7"), 15: rapid.Byte().Draw(t, "byte 15")})
			p, _ := a.Prefix(rapid.IntRange(0, 128).Draw(t, "bits"))
			return p
		}
		a := netip.AddrFrom4([4]byte{10, 0, rapid.Byte().Draw(t, "byte 2") & 3, rapid.Byte().Draw(t, "byte 3")})
		p, _ := a.Prefix(rapid.IntRange(0, 32).Draw(t, "bits"))
		return p
	})
	rapid.Check(t, func(t *rapid.T) {
		n, list := new(conns.Networks), map[netip.Prefix]bool{}
		for _, p := range rapid.SliceOfN(prefix, 0, 40).Draw(t, "prefixes") {
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				n.Remove(p)
				delete(list, p)
				continue
			}
			if err := n.Add(conns.NetworkRule{Prefix: p, Deny: true}); err != nil {
				t.Fatal(err)
			}
			list[p] = true
		}
		for range 20 {
			a := prefix.Draw(t, "address").Addr()
			want := netip.Prefix{}
			for p := range list {
				if p.Contains(a) && (!want.IsValid() || p.Bits() > want.Bits()) {
					want = p
				}
			}
			if got, ok := n.Lookup(a); ok != want.IsValid() || got.Prefix != want {
				t.Fatalf("Lookup(%v): got the rule for %v, want %v", a, got.Prefix, want)
			}
		}
		if len(n.Rules()) != len(list) || n.Len() != len(list) {
			t.Fatalf("got %d rules, Len %d, want %d", len(n.Rules()), n.Len(), len(list))
		}
	})
}

// randomRules returns rules for n different networks.
func randomRules(n int) []conns.NetworkRule {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	rules, seen := make([]conns.NetworkRule, 0, n), map[netip.Prefix]bool{}
	for len(rules) < n {
		a := netip.AddrFrom4([4]byte{byte(1 + r.IntN(200)), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
		bits := 24 + r.IntN(9)
		if r.IntN(4) == 0 {
			a = netip.AddrFrom16([16]byte{0x20, 1, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 7: byte(r.Uint32())})
			bits = 32 + r.IntN(33)
		}
		if p, _ := a.Prefix(bits); !seen[p] {
			seen[p] = true
			rules = append(rules, conns.NetworkRule{Prefix: p, Deny: true})
		}
	}
	return rules
}

func TestManyNetworks(t *testing.T) {
	rules := randomRules(100_000)
	n := new(conns.Networks)
	if err := n.Set(rules); err != nil {
		t.Fatal(err)
	}
	if got := n.Len(); got != len(rules) {
		t.Errorf("got %d prefixes, want %d", got, len(rules))
	}
	for _, r := range rules {
		if got, ok := n.Lookup(r.Prefix.Addr()); !ok || got.Prefix.Bits() < r.Prefix.Bits() {
			t.Fatalf("Lookup(%v): got the rule for %v, want that for %v or a longer one", r.Prefix.Addr(), got.Prefix, r.Prefix)
		}
	}
}

// Rules can be changed while others look up.
func TestNetworksConcurrent(t *testing.T) {
	n := newNetworks(t, deny("10.0.0.0/8"))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 200 {
				r := deny(fmt.Sprintf("192.0.%d.%d/32", i, j))
				r.Origin = fmt.Sprint(i)
				n.Add(r)
				switch j % 4 {
				case 0:
					n.Remove(r.Prefix)
				case 1:
					n.Replace(r.Origin, []conns.NetworkRule{r})
				case 2:
					n.Rules()
				}
				if _, ok := n.Lookup(netip.MustParseAddr("10.1.1.1")); !ok {
					t.Error("got no rule for 10.1.1.1 during changes, want one")
				}
			}
		})
	}
	wg.Wait()
	if got := len(n.Rules()); got == 0 {
		t.Error("got no rules, want some")
	}
}

func BenchmarkNetworks(b *testing.B) {
	for _, size := range []int{0, 1, 1000, 100_000} {
		n := new(conns.Networks)
		if err := n.Set(randomRules(size)); err != nil {
			b.Fatal(err)
		}
		var addrs []netip.Addr
		for _, r := range randomRules(4096) {
			addrs = append(addrs, r.Prefix.Addr())
		}
		b.Run(fmt.Sprintf("prefixes=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				n.Lookup(addrs[i%len(addrs)])
			}
		})
	}
}
