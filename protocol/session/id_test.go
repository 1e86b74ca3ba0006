package session_test

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/session"
)

func TestRandomIDs(t *testing.T) {
	seen := map[string]bool{}
	long := 0
	for range 1000 {
		id, err := session.RandomID(nil)
		must(t, err)
		n, ok := new(big.Int).SetString(id, 10)
		if !ok || n.BitLen() > 128 || seen[id] {
			t.Fatalf("got id %q, want a new decimal number of at most 128 bits", id)
		}
		seen[id] = true
		if n.BitLen() > 126 {
			long++
		}
	}
	if long < 600 {
		t.Errorf("got %d of 1000 ids above 2^126, want about 750", long)
	}
}

func TestDecimal(t *testing.T) {
	check := func(hi, lo uint64) {
		n := new(big.Int).SetUint64(hi)
		want := n.Add(n.Lsh(n, 64), new(big.Int).SetUint64(lo)).String()
		if got := session.Decimal(hi, lo); got != want {
			t.Errorf("%d, %d: got %s, want %s", hi, lo, got, want)
		}
	}
	for _, n := range []uint64{1, 1e17, 1e18 - 1, 1e18, 1e18 + 1, 1 << 63, math.MaxUint64} {
		check(0, n)
		check(n, 0)
		check(n, n)
		check(1, n)
		check(rand.Uint64(), rand.Uint64())
	}
	if got := session.Decimal(0, 0); got != "0" {
		t.Errorf("got %q, want 0", got)
	}
}

func TestDJBID(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"127.0.0.1:8080", djb("127.0.0.1:8080")}, {"", "5381"}, {"a", "177670"},
	} {
		if id, err := session.DJBID(textAddr(tt.addr)); id != tt.want || err != nil {
			t.Errorf("DJBID(%q): got %q and error %v, want %s", tt.addr, id, err, tt.want)
		}
	}
	if _, err := session.DJBID(nil); err == nil {
		t.Error("DJBID(nil): got no error, want one")
	}
}

type textAddr string

func (textAddr) Network() string  { return "test" }
func (a textAddr) String() string { return string(a) }

// djb computes the hash by its definition, in unlimited precision.
func djb(s string) string {
	h := big.NewInt(5381)
	for _, b := range []byte(s) {
		h.Add(h.Mul(h, big.NewInt(33)), big.NewInt(int64(b)))
	}
	return h.Mod(h, big.NewInt(1<<32)).String()
}

func TestNewID(t *testing.T) {
	m := newManager(t, session.Options[state]{NewID: session.DJBID})
	a, b := create(t, m, newClient()), create(t, m, newClient())
	if a.ID() != djb(addr(1).String()) || len(b.ID()) < 20 {
		t.Errorf("got ids %s and %s, want %s and, because that is in use, a random one", a.ID(), b.ID(), djb(addr(1).String()))
	}
	errNewID := errors.New("no id")
	for id, fault := range map[string]error{"x": errNewID, "": nil, strings.Repeat("x", 129): nil} {
		m := newManager(t, session.Options[state]{NewID: func(net.Addr) (string, error) { return id, fault }})
		if _, err := m.Create(t.Context(), nil, newClient(), state{}); err == nil || fault != nil && !errors.Is(err, fault) {
			t.Errorf("id %.5q: got error %v, want one wrapping %v", id, err, fault)
		}
		if diff := cmp.Diff(session.Stats{}, m.Stats()); diff != "" {
			t.Errorf("Stats (-want +got):\n%s", diff)
		}
	}
}
