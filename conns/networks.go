package conns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
)

// Networks is a table of rules for networks of clients, which several listeners may use. The rule
// with the longest prefix that contains the address of a client applies to it, so that a network
// can contain exceptions. IPv4-mapped IPv6 addresses count as IPv4 addresses. Clients without an IP
// address have no rule. A rule whose time has passed does not apply.
//
// Rules have an origin, such as a file: those of one origin can be replaced together. A prefix can
// have a rule of each origin; of these the one applies that [Networks.Add] has added last, before
// those of [Networks.Replace].
//
// The zero value has no rules. A look-up takes no lock. The methods may be called from any
// goroutine, and all but those that change the table also on a nil *Networks, which has no rules.
type Networks struct {
	table  atomic.Pointer[bart.Table[networkRules]] // never changed, only replaced; nil: empty
	mu     sync.Mutex                               // one change at a time
	purged int                                      // prefixes after the last removal of expired rules
}

// networkRules are the rules of one prefix, at least one, in the order in which they apply.
type networkRules []*NetworkRule

// current reports whether the time of the rule has not passed.
func (r *NetworkRule) current() bool { return r.Until.IsZero() || time.Now().Before(r.Until) }

// first returns the first rule that is current; nil if there is none.
func (rs networkRules) first() *NetworkRule {
	for _, r := range rs {
		if r.current() {
			return r
		}
	}
	return nil
}

// current returns the rules that are current.
func (rs networkRules) current() (current networkRules) {
	for _, r := range rs {
		if r.current() {
			current = append(current, r)
		}
	}
	return current
}

// ofOther returns the current rules of other origins.
func (rs networkRules) ofOther(origin string) (others networkRules) {
	for _, r := range rs {
		if r.Origin != origin && r.current() {
			others = append(others, r)
		}
	}
	return others
}

// Lookup returns the rule that applies to addr, and whether there is one.
func (n *Networks) Lookup(addr netip.Addr) (NetworkRule, bool) {
	if r := n.find(addr.Unmap().WithZone("")); r != nil {
		return *r, true
	}
	return NetworkRule{}, false
}

// find returns the rule that applies to ip, which is neither mapped nor has a zone; nil if there is
// none.
func (n *Networks) find(ip netip.Addr) *NetworkRule {
	if n == nil {
		return nil
	}
	t := n.table.Load()
	if t == nil {
		return nil
	}
	rs, ok := t.Lookup(ip)
	if !ok {
		return nil
	}
	if r := rs.first(); r != nil {
		return r
	}
	for _, rs := range t.Supernets(netip.PrefixFrom(ip, ip.BitLen())) { // the longest first
		if r := rs.first(); r != nil {
			return r
		}
	}
	return nil
}

// Len returns how many prefixes have rules. Rules whose time has passed may be included.
func (n *Networks) Len() int {
	if n == nil || n.table.Load() == nil {
		return 0
	}
	return n.table.Load().Size()
}

// Rules returns all rules whose time has not passed, by address and length of their prefixes, IPv4
// first. The rules of one prefix are in the order in which they apply.
func (n *Networks) Rules() (all []NetworkRule) {
	if n == nil || n.table.Load() == nil {
		return nil
	}
	for _, rs := range n.table.Load().AllSorted() {
		for _, r := range rs.current() {
			all = append(all, *r)
		}
	}
	return all
}

// Add adds rules. A rule replaces one of the same prefix and origin. On an error, which names all
// faults, nothing is changed.
func (n *Networks) Add(rules ...NetworkRule) error {
	rules, err := checkedRules(rules)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.load()
	for i := range rules {
		r := &rules[i]
		before, _ := t.Get(r.Prefix)
		t = t.InsertPersist(r.Prefix, append(networkRules{r}, before.ofOther(r.Origin)...))
	}
	if t.Size() > 2*n.purged+1024 {
		t = rebuild(t, networkRules.current)
		n.purged = t.Size()
	}
	n.table.Store(t)
	return nil
}

// load returns the table; n.mu is held.
func (n *Networks) load() *bart.Table[networkRules] {
	if t := n.table.Load(); t != nil {
		return t
	}
	return new(bart.Table[networkRules])
}

// rebuild returns a table with the rules that keep returns for each prefix.
func rebuild(t *bart.Table[networkRules], keep func(networkRules) networkRules) *bart.Table[networkRules] {
	next := new(bart.Table[networkRules])
	for p, rs := range t.All() {
		if rs = keep(rs); len(rs) > 0 {
			next.Insert(p, rs)
		}
	}
	return next
}

// Set replaces all rules, of all origins. On an error, which names all faults, nothing is changed.
func (n *Networks) Set(rules []NetworkRule) error {
	return n.replace(rules, func(networkRules) networkRules { return nil })
}

// Replace replaces the rules of one origin, which the new ones get. Of several rules for one prefix
// the last one counts. On an error, which names all faults, nothing is changed.
func (n *Networks) Replace(origin string, rules []NetworkRule) error {
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].Origin = origin
	}
	return n.replace(rules, func(rs networkRules) networkRules { return rs.ofOther(origin) })
}

func (n *Networks) replace(rules []NetworkRule, keep func(networkRules) networkRules) error {
	rules, err := checkedRules(rules)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	t := rebuild(n.load(), keep)
	for i := range rules {
		r := &rules[i]
		t.Modify(r.Prefix, func(rs networkRules, _ bool) (networkRules, bool) {
			return append(rs.ofOther(r.Origin), r), false
		})
	}
	n.purged = t.Size()
	n.table.Store(t)
	return nil
}

// Remove removes the rules of exactly these prefixes, of all origins, and returns those whose time
// has not passed.
func (n *Networks) Remove(prefixes ...netip.Prefix) (removed []NetworkRule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.load()
	for _, p := range prefixes {
		p, ok := normalPrefix(p)
		if !ok {
			continue
		}
		rs, _ := t.Get(p)
		for _, r := range rs.current() {
			removed = append(removed, *r)
		}
		t = t.DeletePersist(p)
	}
	n.table.Store(t)
	return removed
}

// maxFaults is how many faults of rules an error names.
const maxFaults = 20

// checkedRules returns copies of the rules with their prefixes in normal form.
func checkedRules(rules []NetworkRule) ([]NetworkRule, error) {
	rules = slices.Clone(rules)
	var faults []error
	for i := range rules {
		if err := rules[i].normalize(); err != nil {
			if faults = append(faults, err); len(faults) == maxFaults && i+1 < len(rules) {
				faults = append(faults, fmt.Errorf("the other %d rules were not checked", len(rules)-i-1))
				break
			}
		}
	}
	return rules, errors.Join(faults...)
}
