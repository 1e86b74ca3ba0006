package netrules_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"goranch/conns"
	"goranch/conns/netrules"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var comparePrefixes = cmpopts.EquateComparable(netip.Prefix{})

func rule(prefix string, change func(*conns.NetworkRule)) conns.NetworkRule {
	r := conns.NetworkRule{Prefix: netip.MustParsePrefix(prefix)}
	change(&r)
	return r
}

func TestParse(t *testing.T) {
	text := `
# comment
192.0.2.0/24
198.51.100.7	reset until=2030-01-02T15:04:05Z reason=port  scan # 7
2001:db8::/32   deny; comment
::ffff:10.0.0.0/104 exempt # comment
  203.0.113.9/24 per-address=500 address-rate=0.5:200` + "\r" + `
2001:db8:1::/48 bits6=56
172.16.0.0/12 per-address=unlimited bits4=24 address-rate=3
192.88.99.1 reason=
192.88.99.2 until=2030-01-02T15:04:05+02:00 ;reason=x
`
	text = strings.Replace(text, "deny;", "deny ;", 1)
	deny := func(r *conns.NetworkRule) { r.Deny = true }
	until := time.Date(2030, 1, 2, 15, 4, 5, 0, time.UTC)
	want := []conns.NetworkRule{
		rule("192.0.2.0/24", deny),
		rule("198.51.100.7/32", func(r *conns.NetworkRule) {
			r.Deny, r.Reset, r.Until, r.Reason = true, true, until, "port  scan # 7"
		}),
		rule("2001:db8::/32", deny),
		rule("10.0.0.0/8", func(r *conns.NetworkRule) { r.Exempt = true }),
		rule("203.0.113.0/24", func(r *conns.NetworkRule) {
			r.PerAddress, r.AddressRate = 500, conns.Rate{PerSecond: 0.5, Burst: 200}
		}),
		rule("2001:db8:1::/48", func(r *conns.NetworkRule) { r.Bits6 = 56 }),
		rule("172.16.0.0/12", func(r *conns.NetworkRule) {
			r.PerAddress, r.Bits4, r.AddressRate = transport.NoLimit, 24, conns.Rate{PerSecond: 3}
		}),
		rule("192.88.99.1/32", deny),
		rule("192.88.99.2/32", func(r *conns.NetworkRule) { r.Deny, r.Until = true, until.Add(-2*time.Hour) }),
	}
	got, err := netrules.Parse([]byte(text))
	if diff := cmp.Diff(want, got, comparePrefixes); diff != "" || err != nil {
		t.Errorf("Parse (-want +got), error %v:\n%s", err, diff)
	}
	for _, r := range got {
		again, err := netrules.Parse([]byte(netrules.Format(r)))
		if diff := cmp.Diff([]conns.NetworkRule{r}, again, comparePrefixes); diff != "" || err != nil {
			t.Errorf("Parse(%q) (-want +got), error %v:\n%s", netrules.Format(r), err, diff)
		}
	}
}

func TestParseRefusesBadLines(t *testing.T) {
	for line, want := range map[string]string{
		"hello":                             `network "hello": allowed are networks such as`,
		"10.0.0.0/33":                       `network "10.0.0.0/33"`,
		"fe80::1%eth0":                      `network "fe80::1%eth0"`,
		"10.0.0.0/8 denny":                  `"denny": allowed are deny, reset, exempt`,
		"10.0.0.0/8 until=tomorrow":         `"until=tomorrow": allowed are times such as`,
		"10.0.0.0/8 per-address=0":          `allowed are numbers from 1, and unlimited`,
		"10.0.0.0/8 per-address=1e9":        `"per-address=1e9"`,
		"10.0.0.0/8 address-rate=-1":        `allowed are numbers per second`,
		"10.0.0.0/8 address-rate=NaN":       `allowed are numbers per second`,
		"10.0.0.0/8 address-rate=1:0":       `allowed are numbers per second`,
		"10.0.0.0/8 bits4=40":               `option Bits4 40: allowed are 8 to 32`,
		"10.0.0.0/8 bits6=64":               `option Bits6 64: allowed are 0 for this prefix`,
		"10.0.0.0/8 deny exempt":            `option Deny true`,
		"10.0.0.0/8 deny per-address=3":     `option Deny true`,
		"10.0.0.0/8 colour=red":             `"colour=red": allowed are deny`,
		"10.0.0.0/8 deny reason=a\x1b[31mb": `option Reason "a\x1b[31mb"`,
		"10.0.0.0/8 deny reason=\xff":       `option Reason "\xff"`,
		"\x00\x01\x02":                      `network "\x00\x01\x02"`,
		"reason=x":                          `a reason without a network`,
	} {
		rules, err := netrules.Parse([]byte("192.0.2.0/24\n" + line + "\n"))
		if err == nil || !strings.HasPrefix(err.Error(), "line 2: ") || !strings.Contains(err.Error(), want) || rules != nil {
			t.Errorf("Parse(%q): got %v, %v, want an error with %q", line, rules, err, want)
		}
	}
	_, err := netrules.Parse([]byte(strings.Repeat("x\n", 1000)))
	if n := strings.Count(fmt.Sprint(err), "\n"); n != 20 {
		t.Errorf("1,000 bad lines: got %d faults, want 20 and a remark", n)
	}
}

// fileSteps are the contents of a file, one after the other.
var fileSteps = []struct {
	what, text string
	bad        bool
	old, new   bool // 10.1.1.1 and 192.0.2.1 are denied
}{
	{"changed", "192.0.2.0/24\n", false, false, true},
	{"garbage", "\x89PNG\r\n\x1a\n", true, false, true},
	{"one bad line", "10.0.0.0/8\nx\n", true, false, true},
	{"fixed", "10.0.0.0/8\n", false, true, false},
	{"missing", "", true, true, false},
	{"empty", "", false, false, false},
}

// The rules follow the file. A file that is garbage, missing or too large keeps the rules before.
func TestFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "bans")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		reports := make(chan error, 10)
		n := new(conns.Networks)
		operator := rule("172.16.0.0/12", func(r *conns.NetworkRule) { r.Deny, r.Origin = true, "operator" })
		if err := n.Add(operator); err != nil {
			t.Fatal(err)
		}
		o := netrules.Options{File: path, Networks: n, Notify: func(err error) { reports <- err }}
		if _, err := netrules.Open(o); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("missing file: got %v, want %v with the path", err, fs.ErrNotExist)
		}
		write("10.0.0.0/8\n")
		f, err := netrules.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		go f.Run(t.Context())
		denied := func(addr string) bool {
			_, ok := n.Lookup(netip.MustParseAddr(addr))
			return ok
		}
		for _, step := range fileSteps {
			if step.what == "missing" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			} else {
				write(step.text)
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if n := len(reports); n != 1 {
				t.Fatalf("%s: got %d reports, want 1", step.what, n)
			}
			if err := <-reports; (err != nil) != step.bad {
				t.Errorf("%s: got %v, want a fault: %t", step.what, err, step.bad)
			}
			if denied("10.1.1.1") != step.old || denied("192.0.2.1") != step.new || !denied("172.16.1.1") {
				t.Errorf("%s: got %v, want 10.0.0.0/8 %t, 192.0.2.0/24 %t, and the rule of the operator", step.what, n.Rules(), step.old, step.new)
			}
			if changed, err := f.Reload(); changed || (err != nil) != step.bad {
				t.Errorf("%s: Reload: got %t, %v, want false and a fault: %t", step.what, changed, err, step.bad)
			}
		}
	})
	if _, err := netrules.Open(netrules.Options{}); err == nil || !strings.Contains(err.Error(), "File") || !strings.Contains(err.Error(), "Networks") {
		t.Errorf("no options: got %v, want both faults", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "192.0.2.0/24", "10.0.0.0/8 reset until=2030-01-02T15:04:05Z reason=a b", "# x\n::/0 exempt ; y\r\n",
		"203.0.113.0/24 per-address=5 address-rate=0.5:2 bits4=30\n2001:db8::/32 bits6=56 per-address=unlimited", "x\nreason=y\n\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		rules, err := netrules.Parse(text)
		if err != nil {
			return
		}
		for _, r := range rules {
			line := netrules.Format(r)
			again, err := netrules.Parse([]byte(line))
			if diff := cmp.Diff([]conns.NetworkRule{r}, again, comparePrefixes); diff != "" || err != nil {
				t.Fatalf("Parse(%q) (-want +got), error %v:\n%s", line, err, diff)
			}
		}
	})
}
