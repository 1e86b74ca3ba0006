package nodes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"goranch/protocol/shell"
)

// A node without heartbeats is gone, then forgotten. Missed heartbeats are counted, and the offset
// of the clock is seen.
func TestDirectory(t *testing.T) {
	t.Parallel()
	var d directory
	now := time.Now()
	hear := func(at time.Duration, instance string, seq uint64, kind string) {
		t.Helper()
		b := beat{State: Ready, Load: Load{Connections: 5}, Kind: kind, Name: "b", Instance: instance, Seq: seq, Time: now.Add(at - time.Hour)}
		if !d.record(b, now.Add(at)) {
			t.Errorf("hear: got false, want true")
		}
	}
	expect := func(at time.Duration, want string) {
		t.Helper()
		got := ""
		for _, n := range d.list(now.Add(at), Node{Name: "a"}) {
			if n.Name == "b" {
				got = fmt.Sprint(n.State, " ", n.Connections, " ", n.Heard, " ", n.Offset)
			}
		}
		if got != want {
			t.Errorf("after %v: got %q, want %q", at, got, want)
		}
	}
	expect(0, "")
	hear(0, "x", 1, arriving)
	expect(15*time.Second, "ready 5 15s -1h0m0s")
	expect(16*time.Second, "gone 0 16s -1h0m0s")
	hear(20*time.Second, "x", 5, alive)
	expect(21*time.Second, "ready 5 1s -1h0m0s")
	hear(22*time.Second, "y", 1, arriving)
	hear(23*time.Second, "x", 6, leaving) // of the predecessor
	expect(23*time.Second, "ready 5 1s -1h0m0s")
	hear(24*time.Second, "y", 2, leaving)
	expect(30*time.Second, "stopped 0 6s -1h0m0s")
	expect(11*time.Minute, "")
	if got := d.missedBeats(); got != 3 {
		t.Errorf("missed: got %d, want 3", got)
	}
	for i := range maxNodes + 1 {
		ok := d.record(beat{Name: fmt.Sprint(i)}, now)
		if want := i < maxNodes; ok != want {
			t.Fatalf("node %d: got %t, want %t", i, ok, want)
		}
	}
}

func TestValidName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"a": true, "host.example.org": true, "a_1-B": true, "ä": false, "a\u009b": false, "$(a)": false, strings.Repeat("x", 64): true,
		"": false, "all": false, "-a": false, "a b": false, "a\n": false, "\xff": false, strings.Repeat("x", 65): false,
	} {
		if got := ValidName(name); got != want {
			t.Errorf("ValidName(%q): got %t, want %t", name, got, want)
		}
	}
}

func TestReplicaFault(t *testing.T) {
	t.Parallel()
	info := func(replicas int, leader string, copies ...*jetstream.PeerInfo) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "s", Replicas: replicas},
			Cluster: &jetstream.ClusterInfo{Leader: leader, Replicas: copies}}
	}
	current := &jetstream.PeerInfo{Name: "b", Current: true}
	for want, s := range map[string]*jetstream.StreamInfo{
		"":                                   info(2, "a", current),
		"stream s has no leader":             info(2, "", current),
		"stream s has 2 copies of 3":         info(3, "a", current),
		"stream s: the copy at c is offline": info(3, "a", current, &jetstream.PeerInfo{Name: "c", Offline: true}),
		"stream s: the copy at c is 7 messages behind": info(3, "a", current, &jetstream.PeerInfo{Name: "c", Lag: 7}),
	} {
		if got := replicaFault(s); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := replicaFault(&jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 1}}); got != "" {
		t.Errorf("one copy: got %q, want nothing", got)
	}
}

// What a peer sends is decoded without a panic, and what is decoded can be shown.
func FuzzMessages(f *testing.F) {
	for _, v := range []any{
		shell.Table{Columns: []shell.Column{{Key: "a", Kind: shell.KindTime}, {Key: "b"}}, Rows: [][]any{{time.Unix(1, 0), labels{"k": "v"}}}, Total: 3},
		shell.Fields{{Key: "a", Value: time.Second}, {Key: "b", Value: []string{"x"}}, {Key: "c", Value: 1.5}}, "text\x1b", nil, 7, true, map[string]int{"a": 1},
	} {
		b, err := shell.MarshalResult(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"result":[{"a":1e999}],"columns":[{"key":"a","kind":"duration"}],"total":-1}`))
	f.Add([]byte(`{"kind":"alive","name":"b","state":"new","listeners":[{"name":"x"}]}`))
	f.Add([]byte(`{"id":"1","node":"a","command":"x","role":"viewer","remote":"[::1]:5"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRequest(b); err == nil {
			r.user()
			if s := r.remote().String(); strings.ContainsAny(s, "\x1b\n") {
				t.Errorf("remote: got %q, want no control characters", s)
			}
		}
		if h, err := parseBeat(b); err == nil && (!ValidName(h.Name) || h.Connections < 0) {
			t.Errorf("heartbeat: got %+v, want a valid one", h)
		}
		v, err := parseResult(b)
		if err != nil {
			return
		}
		again, err := shell.MarshalResult(v)
		if err != nil || !json.Valid(again) {
			t.Errorf("MarshalResult: got %s and error %v, want JSON", again, err)
		}
		if s, ok := v.(string); ok && strings.Contains(s, "\x1b") {
			t.Errorf("text: got %q, want no control characters", s)
		}
	})
}
