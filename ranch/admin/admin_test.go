package admin_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/echo"
	"goranch/protocol/session"
	"goranch/ranch"
	"goranch/ranch/admin"
)

// sessions are some that do not change.
type sessions struct{}

const secretID = "123456789012345678901234567890"

func (sessions) Stats() session.Stats { return session.Stats{Attached: 2, Detached: 1, Created: 5} }
func (sessions) List() []session.Info {
	return []session.Info{{ID: secretID, Attached: true, Generation: 1}}
}

// Each command that looks answers in text and JSON with these.
func TestCommandsThatLook(t *testing.T) {
	h := open(t, admin.Options{Version: "v1", Config: func() any { return map[string]any{"listen": ":1"} }, Sessions: []admin.SessionSource{{"shell", sessions{}}}})
	l, _ := h.server.Listener("echo")
	if _, err := l.ChangeOptions(func(o *ranch.Options) { o.Alarms = map[string]ranch.Alarm{"many": {Connections: 1}} }); err != nil {
		t.Fatal(err)
	}
	small, big := h.echoed(10), h.echoed(2000)
	gone := h.echoed(5)
	l.Kill(gone)
	h.eventually("the end", func() bool { return len(l.RecentlyClosed()) == 1 })
	text, js := h.client(), h.asJSON()
	for _, tc := range []struct {
		request string
		text    string         // pattern
		want    map[string]any // members of the fields, or of the first row
	}{
		{"status", `(?m)^Connections +4$`, map[string]any{"status": "running", "version": "v1", "listeners": 2.0, "connections": 4.0, "sessions": 3.0}},
		{"stats", `(?m)^Ended: killed +1$`, map[string]any{"accepted": 5.0, "ended_killed": 1.0, "connections": 4.0}},
		{"stats echo", `(?m)^Accepted +3$`, map[string]any{"accepted": 3.0}},
		{"listeners", `(?m)^echo +running +mem +echo +2 +1024 +3 +3 +0 `, map[string]any{"listener": "echo", "active": 2.0, "cap": 1024.0}},
		{"listeners echo", `(?m)^Protocol +echo\.Protocol$`, map[string]any{"protocol": "echo.Protocol", "connections": 2.0}},
		{"connections listener=echo", fmt.Sprintf(`(?m)^ *%d +echo +mem:client-1 +serving .* 10 B +10 B`, small), map[string]any{"id": float64(small), "read": 10.0}},
		{"connections --listener echo --sort bytes --limit 1", `2\.0 KiB +2\.0 KiB[^\n]*\n1 of 2\n`, map[string]any{"id": float64(big)}},
		{"connections --filter 'listener=echo bytes<1KiB'", `10 B`, map[string]any{"id": float64(small)}},
		{fmt.Sprint("connection ", big), `(?m)^Read +2\.0 KiB$`, map[string]any{"id": float64(big), "read": 2000.0, "listener": "echo", "state": "serving", "tls": false}},
		{"closed", fmt.Sprintf(`(?m)^ *%d +echo +mem:client-3 .* killed +5 B`, gone), map[string]any{"id": float64(gone), "reason": "killed", "served": true}},
		{"alarms", `(?m)^echo +many +connections +1 +2 +true +5s$`, map[string]any{"alarm": "many", "now": 2.0, "reached": true, "cooldown": 5.0}},
		{"limits echo", `(?m)^echo +idle-timeout +none `, map[string]any{"limit": "accept-rate", "value": "unlimited"}},
		{"sessions", `(?m)^shell +2 +1 +5 `, map[string]any{"name": "shell", "attached": 2.0}},
		{"sessions --list", `attached`, map[string]any{"name": "shell", "state": "attached"}},
		{"config", `listen`, map[string]any{"listen": ":1"}},
		{"version", `(?m)^Version +v1$`, map[string]any{"version": "v1"}},
		{"memory", `(?m)^Heap: objects +\d.*iB$`, map[string]any{}},
		{"goroutines", `(?m)^Goroutines +\d+$`, map[string]any{}},
		{"goroutines --profile --limit 5", `(?m)^ *\d+ +\S+`, map[string]any{}},
		{"descriptors --kinds", `(?m)^Open +\d+$`, map[string]any{}},
		{"traces", `TRACE OF`, nil},
	} {
		t.Run(tc.request, func(t *testing.T) {
			if got := text.text(tc.request); !regexp.MustCompile(tc.text).MatchString(got) {
				t.Errorf("no %q in\n%s", tc.text, got)
			} else if strings.Contains(got, secretID) {
				t.Error("a session's id is shown")
			}
			a := js.json(tc.request)
			var got map[string]any
			if len(a.Columns) > 0 {
				if rows := a.rows(t); len(rows) > 0 {
					got = rows[0]
				}
			} else {
				got = a.fields(t)
			}
			for key := range got {
				if _, ok := tc.want[key]; !ok {
					delete(got, key)
				}
			}
			if tc.want != nil {
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	h := open(t, admin.Options{})
	js := h.asJSON()
	for _, tc := range []struct{ request, message, suggestion, code string }{
		{"stats ehco", `there is no listener "ehco": there are echo, shell`, "echo", ""},
		{"cap nothing-like-it 1", `there is no listener`, "", ""},
		{"cap echo -1", `cap "-1": allowed are the numbers 0`, "", "usage"},
		{"cap echo many", `allowed are the numbers 0 to 2147483647, and unlimited`, "", "usage"},
		{"cap echo", `takes 2 arguments, not 1`, "", "usage"},
		{"connection x", `connection "x"`, "", "usage"},
		{"connection 18446744073709551615", `there is no connection 18446744073709551615`, "", ""},
		{"kill 18446744073709551615", `there is no connection`, "", ""},
		{"kill echo", `"echo": allowed are ids`, "", "usage"},
		{"kill listener=echo", `listener=echo would close 0 connections: add --yes`, "", "usage"},
		{"kill listener=ehco --yes", `there is no listener "ehco"`, "echo", ""},
		{"kill idel>3s --yes", `there is no field "idel" of live connections: allowed are id, listener`, "idle", "usage"},
		{"connections --limit 0", `flag --limit "0": allowed are the numbers 1 to 1000`, "", "usage"},
		{"connections --offset x", `flag --offset "x"`, "", "usage"},
		{"connections --sort size", `allowed are age, idle, read`, "", "usage"},
		{"connections --filter 'listener=\"echo'", `a quote without its end`, "", "usage"},
		{"connections reason=killed", `no field "reason" of live connections`, "", "usage"},
		{"closed idle>3s", `no field "idle" of closed connections`, "", "usage"},
		{"closed reason=kiled", `allowed are finished, peer-closed`, "", "usage"},
		{"limit echo idle-timeot=5s", `allowed are name=value`, "idle-timeout", "usage"},
		{"limit echo idle-timeout=0s max-per-address=-1", "idle-timeout \"0s\": allowed are times such as 500ms, 5s or 2m, and none\nmax-per-address \"-1\": allowed", "", "usage"},
		{"limit echo lifetime-jitter=2", `LifetimeJitter 2: allowed are 0 to 1`, "", ""},
		{"limit echo evict=oldest evict=nobody", `given twice`, "", "usage"},
		{"limits echo evict=oldest", `to change them is limit echo evict=oldest`, "", "usage"},
		{"drain shell", `the one that you are connected by`, "", ""},
		{"drain echo --timeout -3s", `allowed are times from 0s on, and infinity`, "", "usage"},
		{"top --interval 1ms", `allowed are times from 100ms to 1h0m0s`, "", "usage"},
		{"trace nobody", `"nobody": allowed are ids`, "", "usage"},
		{"trace 10.0.0.0/8 maybe", `allowed are on and off`, "", "usage"},
		{"trace 10.0.0.0/8 off", `there is no trace of 10.0.0.0/8`, "", ""},
		{"trace 10.0.0.0/8 --bytes 5000", `flag --bytes`, "", "usage"},
		{"config", `does not tell`, "", ""},
	} {
		t.Run(tc.request, func(t *testing.T) {
			a := js.json(tc.request)
			if a.Error == nil {
				t.Fatalf("no error: %s", a.Result)
			}
			if !strings.Contains(a.Error.Message, tc.message) {
				t.Errorf("no %q in %q", tc.message, a.Error.Message)
			}
			if a.Error.Suggestion != tc.suggestion || a.Error.Code != tc.code {
				t.Errorf("suggestion %q, code %q", a.Error.Suggestion, a.Error.Code)
			}
		})
	}
}

// Who may only look can change nothing, and what was tried is audited.
func TestRoles(t *testing.T) {
	h := open(t, admin.Options{})
	id := h.echoed(1)
	js := h.asJSON()
	js.json("auth:viewer")
	for _, request := range []string{
		fmt.Sprint("kill ", id), "cap echo 0", "suspend echo", "resume echo", "drain echo", "limit echo evict=oldest", fmt.Sprint("trace ", id), "gc",
	} {
		if a := js.json(request); a.Error == nil || a.Error.Code != "denied" {
			t.Errorf("%s: %+v", request, a)
		}
		h.mu.Lock()
		if last := h.audit[len(h.audit)-1]; last.Line != request || last.User.Name != "viewer" || last.Err == nil {
			t.Errorf("%s: audited as %+v", request, last)
		}
		h.mu.Unlock()
	}
	if a := js.json("connections"); a.Error != nil {
		t.Errorf("a viewer may look: %+v", a.Error)
	}
	js.json("auth:nobody")
	if a := js.json("connections"); a.Error == nil || a.Error.Code != "denied" {
		t.Errorf("a guest may not look: %+v", a)
	}
	if a := js.json("version"); string(a.Result) != `"unknown"` {
		t.Errorf("a guest is told the version, and nothing else: %+v", a)
	}
}

// Every command has a help, and can be added to a shell together with all others.
func TestHelp(t *testing.T) {
	for _, c := range admin.Commands(admin.Options{}) {
		if first, _, _ := strings.Cut(c.Help, "\n"); first == "" || !strings.HasSuffix(first, ".") {
			t.Errorf("%s: help %q", c.Name, first)
		}
		if c.Changes != (c.Role > 1) {
			t.Errorf("%s: role %v, changes %t", c.Name, c.Role, c.Changes)
		}
	}
}

func TestCompletion(t *testing.T) {
	h := open(t, admin.Options{})
	id := h.echoed(1)
	js := h.asJSON()
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
			t.Errorf("%s: %s, want %s", request, a.Result, want)
		}
	}
	if a := js.json(fmt.Sprint("complete:connection ", id)); !strings.Contains(string(a.Result), fmt.Sprintf(`"%d"`, id)) {
		t.Errorf("ids: %s", a.Result)
	}
}

func TestOrderOverListeners(t *testing.T) {
	h := open(t, admin.Options{})
	h.start("other", echo.Protocol{})
	for n := range 6 {
		nc := h.dial([]string{"echo", "other"}[n%2])
		exchange(t, nc, strings.Repeat("x", 10*(n+1)))
	}
	js := h.asJSON()
	ask := func(request string) (got []float64) {
		for _, r := range js.json(request).rows(t) {
			got = append(got, r["read"].(float64))
		}
		return got
	}
	for request, want := range map[string][]float64{
		"connections read>5 listener!=shell --sort read":         {60, 50, 40, 30, 20, 10},
		"connections listener!=shell --sort read --reverse":      {10, 20, 30, 40, 50, 60},
		"connections listener!=shell --sort read --limit 2":      {60, 50},
		"connections listener!=shell --limit 2 --offset 1":       {20, 30},
		"connections listener!=shell --offset 5":                 {60},
		"connections listener!=shell --offset 9":                 nil,
		"connections listener=other and read>=40 --sort written": {60, 40},
	} {
		if diff := cmp.Diff(want, ask(request)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", request, diff)
		}
	}
	if _, err := admin.ParseFilter("state=" + "closed"); err == nil {
		t.Error("no live connection is closed")
	}
}
