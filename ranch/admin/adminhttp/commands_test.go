package adminhttp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/admin/adminhttp"
)

// Reading commands are served by GET with the flags in the query.
func TestGet(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{})
	for n := range 5 {
		s.dial(10 * (n + 1))
	}
	s.waitFor("the counters", func() bool {
		var rows []struct{ Written float64 }
		s.do("GET", "/connections?filter=listener%3Decho+written%3E%3D10", "").result(t, &rows)
		return len(rows) == 5
	})
	for query, want := range map[string][]float64{
		"filter=listener%3Decho&sort=read":                       {50, 40, 30, 20, 10},
		"filter=listener%3Decho&sort=read&reverse=true&limit=2":  {10, 20},
		"filter=listener%3Decho&sort=read&reverse&offset=3":      {40, 50},
		"filter=listener%3Decho&sort=read&reverse=false&limit=1": {50},
		"arg=listener%3Decho&arg=read%3E45":                      {50},
		"filter=listener%3Decho+read%3E100":                      nil,
	} {
		a := s.do("GET", "/connections?"+query, "")
		var rows []struct{ Read float64 }
		a.result(t, &rows)
		var got []float64
		for _, r := range rows {
			got = append(got, r.Read)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	var status struct{ Status, Version string }
	s.do("GET", "/status", "").result(t, &status)
	if status.Status != "running" || status.Version != "v1.2.3" {
		t.Errorf("/status: got %+v, want running and v1.2.3", status)
	}
	var sources []struct {
		Source      string
		Connections int
	}
	s.do("GET", "/sources?limit=1&filter=listener%3Decho", "").result(t, &sources)
	if len(sources) != 1 || sources[0].Source != "127.0.0.1" || sources[0].Connections != 5 {
		t.Errorf("/sources: got %+v, want 5 connections of 127.0.0.1", sources)
	}
}

func TestPost(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{})
	a := s.run("cap", `{"args":["echo","7"]}`)
	var c struct{ Cap, Previous int }
	a.result(t, &c)
	if c.Cap != 7 || c.Previous != 20_000 || s.listener("echo").Info().MaxConnections != 7 {
		t.Errorf("cap: got %+v with the cap %d, want 7", c, s.listener("echo").Info().MaxConnections)
	}
	s.dial(1)
	id := s.listener("echo").Connections()[0].ID
	var killed struct{ Killed int }
	s.run("kill", fmt.Sprintf(`{"args":["%d"]}`, id)).result(t, &killed)
	if killed.Killed != 1 {
		t.Errorf("kill: got %d, want 1", killed.Killed)
	}
	s.dial(1)
	s.run("kill", `{"args":["peer=127.0.0.1"],"flags":{"yes":true}}`).result(t, &killed)
	if killed.Killed < 1 {
		t.Errorf("kill by filter: got %d, want at least 1", killed.Killed)
	}
	s.run("suspend", `{"args":["all"]}`)
	for name, want := range map[string]ranch.Status{"echo": ranch.Suspended, "http": ranch.Running} {
		if got := s.listener(name).Info().Status; got != want {
			t.Errorf("status of %s after suspend all: got %s, want %s", name, got, want)
		}
	}
	var lines []string
	for _, e := range s.audited() {
		lines = append(lines, e.User.Name+": "+e.Line)
	}
	want := []string{"token ops: cap echo 7", fmt.Sprintf("token ops: kill %d", id), "token ops: kill --yes peer=127.0.0.1", "token ops: suspend all"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestFaultsOfCommands(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{})
	for _, tt := range []struct {
		method, path, body string
		status             int
		message            string
	}{
		{"POST", "/commands/cap", `{"args":["echo","-1"]}`, 400, `cap "-1": allowed are the numbers`},
		{"POST", "/commands/cap", `{"args":["echo"]}`, 400, "cap takes 2 arguments, not 1"},
		{"POST", "/commands/cap", `{"args":["ehco","1"]}`, 422, `no listener "ehco"`},
		{"POST", "/commands/cap", `{"args":["echo","1"],"flags":{"no":"1"}}`, 400, "cap has no flag --no"},
		{"POST", "/commands/cap", `{"arg":["echo","1"]}`, 400, `unknown field "arg"`},
		{"POST", "/commands/cap", `{"args":"echo"}`, 400, "cannot unmarshal string"},
		{"POST", "/commands/cap", `{"args":["echo","1"]} {}`, 400, "data after the object"},
		{"POST", "/commands/cap", `{`, 400, "unexpected EOF"},
		{"POST", "/commands/kill", `{"args":["1"],"flags":{"yes":{}}}`, 400, "values of flags are strings, numbers, true and false"},
		{"POST", "/commands/kil", `{}`, 404, `unknown command "kil"`},
		{"POST", "/commands/", `{}`, 404, `no path "/commands/"`},
		{"GET", "/connections?limit=0", "", 400, "flag --limit \"0\": allowed are the numbers 1 to 1000"},
		{"GET", "/connections?limit=1&limit=2", "", 400, `parameter "limit" is given 2 times`},
		{"GET", "/connections?no=1", "", 400, "connections has no flag --no"},
		{"GET", "/connections?filter=idel%3E1s", "", 400, `no field "idel"`},
		{"GET", "/connections?limit=%zz", "", 400, "invalid URL escape"},
		{"GET", "/connection?arg=999999", "", 422, "no connection 999999"},
		{"GET", "/cap?arg=echo&arg=1", "", 404, `no path "/cap"`},
		{"POST", "/status", `{}`, 405, `method "POST": allowed are GET`},
		{"GET", "/config", "", 422, "the server does not provide its configuration"},
		{"GET", "/metrics", "", 404, "the program provides no metrics"},
		{"GET", "/debug/pprof/nothing", "", 404, `no profile "nothing"`},
		{"GET", "/debug/pprof/heap?debug=9", "", 400, `parameter debug "9": allowed are the numbers 0 to 2`},
		{"GET", "/events?kinds=stats,all", "", 400, `parameter kinds "all": allowed are stats, listeners, connections`},
	} {
		a := s.do(tt.method, tt.path, tt.body, "Authorization", "Bearer "+operatorToken)
		var e struct{ Error struct{ Message string } }
		if err := json.Unmarshal([]byte(a.body), &e); err != nil {
			t.Errorf("%s %s: got %s, want JSON: %v", tt.method, tt.path, a.body, err)
		}
		if a.status != tt.status || !strings.Contains(e.Error.Message, tt.message) {
			t.Errorf("%s %s %s: got %d %q, want %d %q", tt.method, tt.path, tt.body, a.status, e.Error.Message, tt.status, tt.message)
		}
	}
}

// talk is a command that shows output and intermediate results.
func talk() shell.Command {
	return shell.Command{Name: "talk", Help: "Show something.", Role: shell.Viewer, MaxArgs: 1, Run: func(ctx context.Context, c *shell.Call) error {
		if len(c.Args) == 1 && c.Args[0] == "panic" {
			panic("for the test")
		}
		fmt.Fprintf(c.Out, "one %s", c.User.Name)
		if err := c.Frame(shell.Fields{{Key: "n", Value: 1}}); err != nil {
			return err
		}
		if len(c.Args) == 0 {
			c.Return("done")
			return nil
		}
		switch c.Args[0] {
		case "fail":
			return errors.New("failed")
		case "flood":
			for {
				if _, err := c.Out.Write(make([]byte, 1000)); err != nil {
					return err
				}
			}
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}}
}

// The output of a command is a member of its answer, or a stream of lines.
func TestOutput(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{Commands: []shell.Command{talk()}, MaxOutput: 10_000})
	a := s.run("talk", "{}")
	if want := `{"result":"done","out":"one token ops","frames":[{"result":{"n":1},"fields":[{"key":"n"}]}]}` + "\n"; a.body != want {
		t.Errorf("talk: got %s, want %s", a.body, want)
	}
	for args, want := range map[string]string{
		"[]":         `{"result":"done"}`,
		`["fail"]`:   `{"error":{"message":"failed"}}`,
		`["nobody"]`: "", // endless
	} {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "POST", s.url+"/commands/talk", strings.NewReader(`{"args":`+args+`}`))
		req.Header.Set("Accept", "application/x-ndjson")
		req.Header.Set("Content-Type", "application/json")
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		r := bufio.NewScanner(resp.Body)
		for r.Scan() {
			if lines = append(lines, r.Text()); len(lines) == 2 && want == "" {
				break
			}
		}
		wantLines := []string{`{"out":"one 127.0.0.1`, `{"frame":true,"result":{"n":1},"fields":[{"key":"n"}]}`, want}
		if want == "" {
			wantLines = wantLines[:2]
		}
		if lines[0] = lines[0][:min(len(lines[0]), len(wantLines[0]))]; resp.StatusCode != 200 {
			t.Errorf("talk %s: got status %d, want 200", args, resp.StatusCode)
		}
		if diff := cmp.Diff(wantLines, lines); diff != "" {
			t.Errorf("talk %s (-want +got):\n%s", args, diff)
		}
		resp.Body.Close()
		cancel()
	}
	if a := s.run("talk", `{"args":["flood"]}`); a.status != 400 || !strings.Contains(a.body, "the output exceeds 10000 bytes: accept application/x-ndjson") {
		t.Errorf("talk flood: got %d %s, want 400 with the limit", a.status, a.body)
	}
	if a := s.run("talk", `{"args":["panic"]}`); a.status != 500 || a.body != `{"error":{"message":"internal error"}}`+"\n" {
		t.Errorf("talk panic: got %d %s, want 500 with an internal error", a.status, a.body)
	}
}

// Commands and profiles in progress end when the handler is closed.
func TestCloseEndsCommands(t *testing.T) {
	started := make(chan struct{})
	wait := shell.Command{Name: "wait", Role: shell.Viewer, Run: func(ctx context.Context, c *shell.Call) error {
		close(started)
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	s := newTestServer(t, adminhttp.Options{Commands: []shell.Command{wait}})
	done := make(chan answer, 1)
	go func() { done <- s.run("wait", "{}") }()
	<-started
	go s.listener("http").Stop()
	if a := <-done; !strings.Contains(a.body, "the server is shutting down") {
		t.Errorf("wait: got %s, want the end of the server", a.body)
	}
}
