package admin_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/admin"
)

const secretID = "123456789012345678901234567890"

// testSessions are constant sessions.
var testSessions = admin.Sessions{
	Name:  "shell",
	Stats: func() session.Stats { return session.Stats{Attached: 2, Detached: 1, Created: 5} },
	List: func() []session.Info {
		return []session.Info{{ID: secretID, Attached: true, Generation: 1}}
	},
}

// Each command that shows something answers in text and in JSON.
func TestViewerCommands(t *testing.T) {
	s := newTestServer(t, admin.Options{Version: "v1", Config: func() any { return map[string]any{"listen": ":1"} },
		Sessions: []admin.Sessions{testSessions}, Status: func() shell.Fields { return shell.Fields{{Key: "cluster", Value: "node a"}} }})
	l := s.listener("echo")
	if _, err := l.ChangeOptions(func(o *ranch.Options) { o.Alarms = map[string]ranch.Alarm{"many": {Connections: 1}} }); err != nil {
		t.Fatal(err)
	}
	small, big := s.echoConnection(10), s.echoConnection(2000)
	killed := s.echoConnection(5)
	l.Kill(conns.Query{ID: killed})
	s.waitFor("the end of the killed connection", func() bool { return len(l.RecentlyClosed()) == 1 })
	textClient, jsonClient := s.client(), s.jsonClient()
	for _, tc := range []struct {
		request string
		text    string         // pattern
		want    map[string]any // some of the fields, or of the first row
	}{
		{"status", `(?m)^All connections +4$`, map[string]any{"status": "running", "version": "v1", "listeners": 2.0, "connections": 4.0, "sessions": 3.0, "cluster": "node a"}},
		{"stats", `(?m)^Ended: killed +1$`, map[string]any{"accepted": 5.0, "ended_killed": 1.0, "connections": 4.0}},
		{"stats echo", `(?m)^Accepted +3$`, map[string]any{"accepted": 3.0}},
		{"listeners", `(?m)^echo +running +mem +echo +2 +1024 +3 +3 +0 `, map[string]any{"listener": "echo", "active": 2.0, "cap": 1024.0, "pending": 0.0}},
		{"listeners echo", `(?m)^Protocol +echo\.Protocol$`, map[string]any{"protocol": "echo.Protocol", "connections": 2.0, "addresses": 0.0}},
		{"connections listener=echo", fmt.Sprintf(`(?m)^ *%d +echo +mem:client-1 +serving .* 10 B +10 B`, small), map[string]any{"id": float64(small), "read": 10.0}},
		{"connections --listener echo --sort bytes --limit 1", `2\.0 KiB +2\.0 KiB[^\n]*\n1 of 2\n`, map[string]any{"id": float64(big)}},
		{"connections --filter 'listener=echo bytes<1KiB'", `10 B`, map[string]any{"id": float64(small)}},
		{fmt.Sprint("connection ", big), `(?m)^Read +2\.0 KiB$`, map[string]any{"id": float64(big), "read": 2000.0, "listener": "echo", "state": "serving", "tls": false}},
		{"closed", fmt.Sprintf(`(?m)^ *%d +echo +mem:client-3 .* killed +5 B`, killed), map[string]any{"id": float64(killed), "reason": "killed", "served": true}},
		{"alarms", `(?m)^echo +many +connections +1 +2 +true +5s$`, map[string]any{"alarm": "many", "metric": "connections", "value": 2.0, "reached": true, "cooldown": 5.0}},
		{"limits echo", `(?m)^echo +idle-timeout +infinity `, map[string]any{"limit": "accept-rate", "value": "unlimited"}},
		{"sessions", `(?m)^shell +2 +1 +5 `, map[string]any{"name": "shell", "attached": 2.0}},
		{"sessions --list", `attached`, map[string]any{"name": "shell", "state": "attached"}},
		{"config", `listen`, map[string]any{"listen": ":1"}},
		{"version", `(?m)^Version +v1$`, map[string]any{"version": "v1"}},
		{"memory", `(?m)^Heap: objects +\d.*iB$`, map[string]any{}},
		{"goroutines", `(?m)^Goroutines +\d+$`, map[string]any{}},
		{"goroutines --profile --limit 5", `(?m)^ *\d+ +\S+`, map[string]any{}},
		{"descriptors --kinds", `(?m)^Open +\d+$`, map[string]any{}},
		{"traces", `TARGET`, nil},
	} {
		t.Run(tc.request, func(t *testing.T) {
			if got := textClient.text(tc.request); !regexp.MustCompile(tc.text).MatchString(got) {
				t.Errorf("text: got\n%s\nwant a match of %q", got, tc.text)
			} else if strings.Contains(got, secretID) {
				t.Error("text: got the id of a session, want a hash")
			}
			got := jsonClient.json(tc.request).firstRow(t)
			for key := range got {
				if _, ok := tc.want[key]; !ok {
					delete(got, key)
				}
			}
			if tc.want != nil {
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("JSON: (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// firstRow returns the first row of a table, or the fields.
func (a answer) firstRow(t *testing.T) map[string]any {
	t.Helper()
	if len(a.Columns) == 0 {
		return a.fields(t)
	}
	if rows := a.rows(t); len(rows) > 0 {
		return rows[0]
	}
	return nil
}

func TestErrors(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	js := s.jsonClient()
	for _, tc := range []struct{ request, message, suggestion, code string }{
		{"stats ehco", `no listener "ehco"; listeners: echo, shell`, "echo", ""},
		{"cap nothing-like-it 1", `no listener`, "", ""},
		{"cap echo -1", `cap "-1": allowed are the numbers 0`, "", "usage"},
		{"cap echo many", `allowed are the numbers 0 to 2147483647, and unlimited`, "", "usage"},
		{"cap echo", `takes 2 arguments, not 1`, "", "usage"},
		{"connection x", `connection "x": allowed are the ids`, "", "usage"},
		{"connection 18446744073709551615", `no connection 18446744073709551615`, "", ""},
		{"kill 18446744073709551615", `no connection`, "", ""},
		{"kill echo", `"echo": allowed are connection ids`, "", "usage"},
		{"kill listener=echo", `listener=echo matches 0 connections; add --yes`, "", "usage"},
		{"kill listener=ehco --yes", `no listener "ehco"`, "echo", ""},
		{"kill room=7 --yes", `no field "room" of live connections: allowed are id, listener`, "", "usage"},
		{"kill label.Room=7 --yes", `no field "label.Room" of live connections`, "", "usage"},
		{"end user>ann --yes", `operators allowed after user are = !=`, "", "usage"},
		{"end", "end", "", "usage"},
		{"drain", "the name of a listener is missing", "", "usage"},
		{"drain --watch", "no listener is draining", "", ""},
		{"drain --spread -1s echo", `flag --spread "-1s": allowed are durations from 0s to 24h0m0s`, "", "usage"},
		{"kill idel>3s --yes", `no field "idel" of live connections: allowed are id, listener`, "idle", "usage"},
		{"connections --limit 0", `flag --limit "0": allowed are the numbers 1 to 1000`, "", "usage"},
		{"connections --offset x", `flag --offset "x"`, "", "usage"},
		{"connections --sort size", `allowed are age, idle, read`, "", "usage"},
		{"connections --filter 'listener=\"echo'", `missing closing quote`, "", "usage"},
		{"connections reason=killed", `no field "reason" of live connections`, "", "usage"},
		{"closed idle>3s", `no field "idle" of closed connections`, "", "usage"},
		{"closed reason=kiled", `allowed are finished, peer-closed`, "", "usage"},
		{"limit echo idle-timeot=5s", `allowed are name=value`, "idle-timeout", "usage"},
		{"limit echo =5s", `allowed are name=value`, "", "usage"},
		{"limit echo max-per-address=0 min-receive-rate=-1", "max-per-address \"0\": allowed are numbers from 1, and unlimited\nmin-receive-rate \"-1\": allowed are numbers from 0", "", "usage"},
		{"limit echo idle-timeout=0s max-per-address=-1", "idle-timeout \"0s\": allowed are durations such as 500ms, 5s or 2m, and infinity\nmax-per-address \"-1\": allowed", "", "usage"},
		{"limit echo lifetime-jitter=2", `LifetimeJitter 2: allowed are fractions from 0 to 1`, "", ""},
		{"limit echo evict=oldest evict=nobody", `evict is given twice`, "", "usage"},
		{"limit echo park-after=1s rest-after=1s", `rest-after is given twice`, "", "usage"},
		{"limits echo evict=oldest", `to change limits: limit echo evict=oldest`, "", "usage"},
		{"drain shell", `listener shell has your connection`, "", ""},
		{"drain echo --timeout -3s", `allowed are durations from 0s, and infinity`, "", "usage"},
		{"top --interval 1ms", `allowed are durations from 100ms to 1h0m0s`, "", "usage"},
		{"trace nothing", `"nothing": allowed are connection ids`, "", "usage"},
		{"trace 10.0.0.0/8 maybe", `allowed are on and off`, "", "usage"},
		{"trace 10.0.0.0/8 off", `no trace of 10.0.0.0/8`, "", ""},
		{"trace 10.0.0.0/8 --bytes 5000", `flag --bytes`, "", "usage"},
		{"config", `does not provide its configuration`, "", ""},
	} {
		t.Run(tc.request, func(t *testing.T) {
			a := js.json(tc.request)
			if a.Error == nil {
				t.Fatalf("got result %s, want an error", a.Result)
			}
			if !strings.Contains(a.Error.Message, tc.message) {
				t.Errorf("message: got %q, want %q in it", a.Error.Message, tc.message)
			}
			if a.Error.Suggestion != tc.suggestion || a.Error.Code != tc.code {
				t.Errorf("got suggestion %q and code %q, want %q and %q", a.Error.Suggestion, a.Error.Code, tc.suggestion, tc.code)
			}
		})
	}
}

// A viewer cannot run commands that change something; the attempts are audited. A guest can only
// see the version.
func TestRoles(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	id := s.echoConnection(1)
	js := s.jsonClient()
	js.json("auth:viewer")
	for _, request := range []string{
		fmt.Sprint("kill ", id), "cap echo 0", "suspend echo", "resume echo", "drain echo", "limit echo evict=oldest", fmt.Sprint("trace ", id), "gc",
	} {
		if a := js.json(request); a.Error == nil || a.Error.Code != "denied" {
			t.Errorf("%s by a viewer: got %+v, want code denied", request, a)
		}
		s.mu.Lock()
		if last := s.audit[len(s.audit)-1]; last.Line != request || last.User.Name != "viewer" || last.Err == nil {
			t.Errorf("%s by a viewer: got audit entry %+v, want a failure of viewer", request, last)
		}
		s.mu.Unlock()
	}
	if a := js.json("connections"); a.Error != nil {
		t.Errorf("connections by a viewer: got error %+v, want none", a.Error)
	}
	js.json("auth:guest")
	if a := js.json("connections"); a.Error == nil || a.Error.Code != "denied" {
		t.Errorf("connections by a guest: got %+v, want code denied", a)
	}
	if a := js.json("version"); string(a.Result) != `"unknown"` {
		t.Errorf("version by a guest: got %+v, want only the version", a)
	}
}

// Each command has a help text, and only operators can run commands that change something.
func TestHelp(t *testing.T) {
	for _, c := range admin.Commands(admin.Options{}) {
		if first, _, _ := strings.Cut(c.Help, "\n"); first == "" || !strings.HasSuffix(first, ".") {
			t.Errorf("%s: got help %q, want a sentence", c.Name, first)
		}
		for _, line := range strings.Split(c.Help, "\n") {
			if len(line) > 110 && !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: got a help line of %d bytes, want at most 110: %s", c.Name, len(line), line)
			}
		}
		if c.Changes != (c.Role > 1) {
			t.Errorf("%s: got Changes %t for role %v", c.Name, c.Changes, c.Role)
		}
	}
}

func TestCompletion(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	id := s.echoConnection(1)
	js := s.jsonClient()
	for request, want := range map[string]string{
		"cap ec":                 `["echo"]`,
		"cap echo u":             `["unlimited"]`,
		"suspend a":              `["all"]`,
		"connections li":         `["listener="]`,
		"connections listener=e": `["listener=echo"]`,
		"connections state=s":    `["state=serving"]`,
		"closed reason=bad":      `["reason=bad-input"]`,
		"connections --so":       `["--sort"]`,
		"connections --sort re":  `["read"]`,
		"limit echo lifetime-":   `["lifetime-jitter="]`,
		"limit echo evict=o":     `["evict=oldest"]`,
		"trace 10.0.0.1 o":       `["off","on"]`,
		"kill id":                `["id=","idle<"]`,
	} {
		if a := js.json("complete:" + request); string(a.Result) != want {
			t.Errorf("%s: got %s, want %s", request, a.Result, want)
		}
	}
	if a := js.json(fmt.Sprint("complete:connection ", id)); !strings.Contains(string(a.Result), fmt.Sprintf(`"%d"`, id)) {
		t.Errorf("connection ids: got %s, want %d among them", a.Result, id)
	}
}
