package bots

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		args   string
		code   int
		stdout string
		stderr []string
	}{
		{"--help", exitGood, "Exit codes:", nil},
		{"--clients 0 --message-size 1048577 --repeat 0", exitUsage, "",
			[]string{"--clients 0: allowed are 1 to 1000000", "--message-size 1048577", "--repeat 0"}},
		{"--rate=-1 --timeout 0s --connect-rate NaN", exitUsage, "", []string{"--rate -1", "--timeout 0s: allowed are 1ms to 10m0s", "--connect-rate NaN"}},
		{"--topic= --host=", exitUsage, "", []string{"--topic: must not be empty", "--host: must not be empty"}},
		{"--port 65536", exitUsage, "", []string{"--port 65536"}},
		{"--nonsense", exitUsage, "", []string{"unknown flag --nonsense", "--help lists all flags"}},
		{"argument", exitUsage, "", []string{"unexpected argument argument"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var out, errs strings.Builder
			code := Command(context.Background(), strings.Fields(tt.args), &out, &errs)
			if code != tt.code || !strings.Contains(out.String(), tt.stdout) || tt.stdout == "" && out.String() != "" {
				t.Errorf("got code %d, stdout %q; want %d, %q", code, out.String(), tt.code, tt.stdout)
			}
			for _, want := range tt.stderr {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("got stderr %q, want %q in it", errs.String(), want)
				}
			}
		})
	}
}

const goldenShape = `{"server":"S","topic":"S","clients":0,"processes":0,"messages":0,"rate":0,"message_size":0,"timeout_ms":0,` +
	`"setup_ms":0,"run_ms":0,"good":0,"bad":0,"reasons":{},"deliveries":0,` +
	`"latency":{"min_us":0,"p50_us":0,"p99_us":0,"max_us":0},"wait":{"min_us":0,"p50_us":0,"p99_us":0,"max_us":0},` +
	`"histogram_500ms":[{"from_us":0,"to_us":0,"count":0}],"histogram":[{"from_us":0,"to_us":0,"count":0}],` +
	`"bursts":[{"message":0,"good":0,"bad":0,"latency":{"min_us":0,"p50_us":0,"p99_us":0,"max_us":0},"wait":{"min_us":0,"p50_us":0,"p99_us":0,"max_us":0}}],` +
	`"notes":[]}`

func TestJSONShape(t *testing.T) {
	port, _ := newTopicServer(t)
	code, out, errs := runBots(t, port, "--clients", "1", "--json")
	if code != exitGood {
		t.Fatal(errs)
	}
	var one json.RawMessage
	if err := json.Unmarshal([]byte(out), &one); err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`\s+`).ReplaceAllString(out, "")
	got = regexp.MustCompile(`:-?[0-9.]+`).ReplaceAllString(got, ":0")
	got = regexp.MustCompile(`:"[^"]*"`).ReplaceAllString(got, `:"S"`)
	if diff := cmp.Diff(goldenShape, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestText(t *testing.T) {
	port, _ := newTopicServer(t)
	code, out, errs := runBots(t, port, "--clients", "20", "--repeat", "2")
	if code != exitGood {
		t.Fatal(errs)
	}
	for _, want := range []string{"20 clients at 127.0.0.1:", "setup  ", "run    ", "good   20", "bad    0", "latency in steps of 500 ms\n 0s .. 500ms 40 ###", "        2    20    0"} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant %q in it", out, want)
		}
	}
}

// An interrupt ends a run at once in every stage.
func TestInterrupt(t *testing.T) {
	const clients = 10
	for _, tt := range []struct {
		name  string
		stage func(f *fakeServer, reached func())
		args  string
	}{
		{"no token", func(f *fakeServer, reached func()) {
			f.onConnect = func(int, net.Conn) bool { reached(); return true }
		}, ""},
		{"no ACK", func(f *fakeServer, reached func()) { f.onSubscribe = func(int, net.Conn) { reached() } }, ""},
		{"no message", func(f *fakeServer, reached func()) { f.onDeliver = func(net.Conn, []byte) { reached() } }, ""},
		{"goroutines", func(f *fakeServer, reached func()) { f.onDeliver = func(net.Conn, []byte) { reached() } }, "--engine goroutines"},
		{"processes", func(f *fakeServer, reached func()) { f.onDeliver = func(net.Conn, []byte) { reached() } }, "--processes 2"},
		{"rate", func(f *fakeServer, reached func()) { f.onDeliver = func(net.Conn, []byte) { reached() } }, "--repeat 1000 --rate 10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f := &fakeServer{}
			tt.stage(f, cancel)
			var out, errs strings.Builder
			begin := time.Now()
			code := Command(ctx, append(strings.Fields(tt.args), "--port", f.start(t), "--clients", fmt.Sprint(clients), "--timeout", "1m"), &out, &errs)
			if took := time.Since(begin); code != exitInterrupted || took > 30*time.Second {
				t.Errorf("got code %d after %v, want %d within 30s; stderr %s", code, took, exitInterrupted, errs.String())
			}
		})
	}
}
