package accesslog

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/transport"
)

const filterFile = "../../deploy/fail2ban/filter.d/ranchd.conf"

// fail2banLines returns lines of all reasons, some with text that looks like other lines, and the
// addresses that the filter is to find.
func fail2banLines(t *testing.T) (lines []byte, want []string) {
	t.Helper()
	banned := map[conns.Reason]bool{conns.BadInput: true, conns.HandshakeFailed: true, conns.HandshakeTimeout: true,
		conns.RefusedAddress: true, conns.RefusedRate: true}
	for r := conns.Finished; !strings.HasPrefix(r.Error(), "Reason("); r++ {
		for _, format := range []string{"192.0.2.%d", "2001:db8::%d"} {
			ip := fmt.Sprintf(format, r+1)
			forged := transport.Label{Key: "user", Value: `","id":1,"peer":"198.51.100.1:1","reason":"bad input",`}
			e := testEvent(t, tcpAddr(t, net.JoinHostPort(ip, "50123")), forged)
			e.Ref, e.Reason = `a "quoted" name`, r
			e.Err = fmt.Errorf("%w: %s\n"+`{"time":"2026-01-02T15:04:05.000000Z","listener":"x","id":1,"peer":"198.51.100.2:1"`, errTest, forged.Value)
			lines = append(lines, lineOf(&e, time.Now())...)
			if banned[r] {
				want = append(want, ip)
			}
		}
	}
	e := testEvent(t, &net.UnixAddr{Net: "unix", Name: "192.0.2.99:5"})
	e.Reason = conns.BadInput
	return append(lines, lineOf(&e, time.Now())...), want
}

var errTest = fmt.Errorf("bad input")

// filterValue returns the value of a key of the filter.
func filterValue(t *testing.T, key string) string {
	t.Helper()
	b, err := os.ReadFile(filterFile)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + key + ` = (.*)$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("%s: got no %s, want one", filterFile, key)
	}
	return string(m[1])
}

// The expressions of the filter find the addresses. fail2ban removes the date from a line first.
func TestFilterExpressions(t *testing.T) {
	lines, want := fail2banLines(t)
	date := regexp.MustCompile(strings.NewReplacer("%%Y", `\d{4}`, "%%m", `\d\d`, "%%d", `\d\d`, "%%H", `\d\d`, "%%M", `\d\d`,
		"%%S", `\d\d`, "%%f", `\d+`, "%%z", "Z").Replace(filterValue(t, "datepattern")))
	fail := regexp.MustCompile(strings.NewReplacer("%(text)s", filterValue(t, "text"), "<ADDR>", `([0-9a-f.:]+)`).Replace(filterValue(t, "failregex")))
	var got []string
	for line := range bytes.Lines(lines) {
		at := date.FindIndex(line)
		if at == nil {
			t.Errorf("got no date in %s", line)
			continue
		}
		if m := fail.FindSubmatch(line[at[1]:]); m != nil {
			got = append(got, string(m[1]))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

// The program itself finds the same addresses.
func TestFail2ban(t *testing.T) {
	program, err := exec.LookPath("fail2ban-regex")
	if err != nil {
		t.Skip("SKIPPED: fail2ban-regex is not installed; run: apt-get install fail2ban && go test ./ranch/accesslog -run Fail2ban")
	}
	lines, want := fail2banLines(t)
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "-o", "ip", path, filterFile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if diff := cmp.Diff(want, strings.Fields(string(out))); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

// The page shows the filter, and a line that has the members of this package in their order.
func TestThePageShowsTheFilter(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	filter, err := os.ReadFile(filterFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, append([]byte("```ini\n"), append(filter, "```\n"...)...)) {
		t.Errorf("docs/operations.md does not contain %s as it is", filterFile)
	}
	_, shown, _ := bytes.Cut(page, []byte("```json\n"))
	shown, _, _ = bytes.Cut(shown, []byte("```"))
	e := testEvent(t, tcpAddr(t, "192.0.2.1:1"), transport.Label{Key: "user", Value: "ann"}, transport.Label{Key: "client", Value: "7"}, transport.Label{Key: "protocol", Value: "shell"})
	got := lineOf(&e, testTime)
	members := regexp.MustCompile(`"([a-z]+)":`)
	var want []string
	for _, m := range members.FindAllSubmatch(shown, -1) {
		if !strings.Contains("tls version cipher sni alpn ", string(m[1])+" ") && !(string(m[1]) == "client" && len(want) == 11) {
			want = append(want, string(m[1]))
		}
	}
	var names []string
	for _, m := range members.FindAllSubmatch(got, -1) {
		names = append(names, string(m[1]))
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("members (-page +line):\n%s", diff)
	}
}
