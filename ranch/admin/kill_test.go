package admin_test

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// end asks connections to stop, with the reason of an operator, and closes those that stay.
func TestEndCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, admin.Options{})
		s.start("busy", writeForever)
		js, l, busy := s.jsonClient(), s.listener("echo"), s.listener("busy")
		first, second := s.echoConnection(1), s.echoConnection(1)
		s.echoConnection(100)
		go io.Copy(io.Discard, s.dial("busy"))
		synctest.Wait()
		for _, step := range []struct {
			request string
			want    float64
		}{
			{fmt.Sprintf("end %d %d", first, second), 2},
			{"end bytes>=200 listener=echo --yes", 1},
			{"end listener=busy --yes", 1},
			{"end listener=busy --yes", 0}, // it was asked
			{"end transport=mem --yes", 0}, // not the connection of the request
		} {
			if got := js.json(step.request).fields(t)["asked"]; got != step.want {
				t.Errorf("%s: got %v asked, want %v", step.request, got, step.want)
			}
			synctest.Wait()
		}
		if n := l.Info().Reasons[conns.EndRequested]; n != 3 {
			t.Errorf("got ends %v, want 3 %q", l.Info().Reasons, conns.EndRequested)
		}
		id := busy.Connections()[0].ID
		if a := js.json(fmt.Sprint("end ", id)); a.Error == nil || !strings.Contains(a.Error.Message, "was asked to stop before") {
			t.Errorf("end of an ending connection: got %+v, want an error", a)
		}
		if a := js.json("end peer=10.0.0.0/8"); a.Error == nil || !strings.Contains(a.Error.Message, "add --yes to end all") {
			t.Errorf("end without --yes: got %+v, want an error", a)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if i := busy.Info(); i.AllConnections != 0 || i.Reasons[conns.EndRequested] != 1 {
			t.Errorf("after the timeout: got %d connections and ends %v, want 1 %q", i.AllConnections, i.Reasons, conns.EndRequested)
		}
		if got := js.json("closed reason=ended-by-an-operator").rows(t); len(got) != 4 {
			t.Errorf("closed: got %v, want 4 connections", got)
		}
	})
}
