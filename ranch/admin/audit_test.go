package admin_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
	"goranch/ranch/admin"
)

// audited returns the audited requests, with "!" before those that failed.
func (s *testServer) audited() (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.audit {
		line := e.Line
		if e.Err != nil {
			line = "!" + line
		}
		if e.User.Name != "alice" || !strings.HasPrefix(e.Remote, "mem:client-") {
			line += " by " + e.User.Name + " from " + e.Remote
		}
		lines = append(lines, line)
	}
	return lines
}

func TestAudit(t *testing.T) {
	var b strings.Builder
	audit := admin.Audit(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "time" {
			return slog.Attr{}
		}
		return a
	}})))
	e := shell.AuditEntry{Time: time.Unix(0, 0).UTC(), User: shell.User{Name: "CN=alice", Role: shell.Operator}, Remote: "10.0.0.1:5",
		Command: "cap", Line: "cap echo 5\nlevel=INFO", Duration: time.Millisecond}
	audit(e)
	e.Err, e.Line = errors.New("no"), strings.Repeat("x", 5000)
	audit(e)
	want := `level=INFO msg=audit user="CN=alice" role=operator remote=10.0.0.1:5 command=cap line="cap echo 5\nlevel=INFO" began=1970-01-01T00:00:00.000Z duration=1ms result=done
level=WARN msg=audit user="CN=alice" role=operator remote=10.0.0.1:5 command=cap line=` + strings.Repeat("x", 1024) + `... began=1970-01-01T00:00:00.000Z duration=1ms err=no result=failed
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("log: (-want +got):\n%s", diff)
	}
}
