package admin_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/ranch/admin"
)

func TestKill(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	js, l := s.jsonClient(), s.listener("echo")
	first, second := s.echoConnection(1), s.echoConnection(1)
	for range 3 {
		s.echoConnection(100)
	}
	checkKilled := func(request string, want float64) {
		t.Helper()
		if got := js.json(request).fields(t)["killed"]; got != want {
			t.Errorf("%s: got %v killed, want %v", request, got, want)
		}
	}
	checkKilled(fmt.Sprintf("kill %d %d", first, second), 2)
	s.waitFor("the end of two connections", func() bool { return l.Info().AllConnections == 3 })
	if a := js.json(fmt.Sprint("kill ", first)); a.Error == nil || !regexp.MustCompile(`ended 0s ago: killed`).MatchString(a.Error.Message) {
		t.Errorf("kill of a killed connection: got %+v, want an error with time and reason", a)
	}
	if a := js.json("kill bytes>100"); a.Error == nil || !strings.Contains(a.Error.Message, "bytes>100 matches 3 connections; add --yes") {
		t.Errorf("kill without --yes: got %+v, want an error with the number", a)
	}
	if n := l.Info().AllConnections; n != 3 {
		t.Fatalf("live connections: got %d, want 3", n)
	}
	checkKilled("kill bytes>=200 listener=echo --yes", 3)
	s.waitFor("the end of all connections", func() bool { return l.Info().Reasons[conns.Killed] == 5 })
	checkKilled("kill transport=mem --yes", 0) // not the connection of the request
	want := []string{
		fmt.Sprintf("kill %d %d", first, second), fmt.Sprint("!kill ", first), "!kill bytes>100",
		"kill bytes>=200 listener=echo --yes", "kill transport=mem --yes",
	}
	if diff := cmp.Diff(want, s.audited()); diff != "" {
		t.Errorf("audit: (-want +got):\n%s", diff)
	}
}
