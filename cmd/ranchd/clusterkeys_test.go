package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"goranch/internal/natsengine"
)

// clusterOf reads a table [cluster] in a directory with some files.
func clusterOf(t *testing.T, table string) (*clusterConfig, []string) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{"secret": strings.Repeat("s", 32) + "\n", "short": "x", "creds": "c", "bad.pem": "no PEM"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "r.toml")
	if err := os.WriteFile(file, []byte("listener = []\n[cluster]\n"+table), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := newConfig(withDefaults(flags{Config: "r.toml", Admin: "none"}), map[string]bool{"admin": true})
	if err == nil {
		return c.Cluster, nil
	}
	var faults []string
	for _, f := range faultsOf(err) {
		faults = append(faults, f.Error())
	}
	return nil, faults
}

func TestClusterFaults(t *testing.T) {
	const peers = "peers = ['127.0.0.1:7601', '127.0.0.1:7602']\n"
	for _, c := range []struct {
		name, table, want string
		elsewhere         bool // the embedded server is not needed
	}{
		{"no name", "store = 'x'", "r.toml:2: cluster: name is missing", false},
		{"bad name", "name = 'a b'\nstore = 'x'", `name "a b": allowed are 1 to 64`, false},
		{"no store", "name = 'a'", "store is missing", false},
		{"peers without listen", "name = 'a'\nstore = 'x'\n" + peers, "listen is missing", false},
		{"listen without peers", "name = 'a'\nstore = 'x'\nlisten = ':7600'", "peers is missing", false},
		{"only itself as a peer", "name = 'a'\nstore = 'x'\nlisten = ':7600'\npeers = ['127.0.0.1:7600']", "peers is missing", false},
		{"secret without listen", "name = 'a'\nstore = 'x'\nsecret = 'secret'", "listen is missing", false},
		{"open to other hosts", "name = 'a'\nstore = 'x'\nlisten = '0.0.0.0:7600'\n" + peers, "other hosts can reach it: give secret", false},
		{"open to other hosts by name", "name = 'a'\nstore = 'x'\nlisten = 'node.example.org:7600'\n" + peers, "other hosts can reach it: give secret", false},
		{"any port", "name = 'a'\nstore = 'x'\nlisten = ':0'\n" + peers, `listen ":0": allowed are addresses host:port`, false},
		{"a scheme", "name = 'a'\nstore = 'x'\nlisten = 'tls://:7600'\n" + peers, "allowed are addresses host:port", false},
		{"a peer without a host", "name = 'a'\nstore = 'x'\nlisten = ':7600'\npeers = [':7601']", `peers ":7601": allowed are addresses to connect to`, false},
		{"short secret", "name = 'a'\nstore = 'x'\nlisten = ':7600'\nsecret = 'short'\n" + peers, "the file contains 1 bytes; allowed are 16 to 1024", false},
		{"no secret file", "name = 'a'\nstore = 'x'\nlisten = ':7600'\nsecret = 'none'\n" + peers, "no such file", false},
		{"more replicas than nodes", "name = 'a'\nstore = 'x'\nlisten = ':7600'\nreplicas = 4\n" + peers, "replicas 4: allowed are the numbers up to that of the nodes, 3", false},
		{"sync-interval", "name = 'a'\nstore = 'x'\nsync-interval = 'never'", `sync-interval "never": allowed are durations`, false},
		{"credentials without url", "name = 'a'\nstore = 'x'\ncredentials = 'creds'", "allowed only with url", false},
		{"key without cert", "name = 'a'\nurl = 'nats://h:1'\nkey = 'creds'", "cert is missing", true},
		{"cert without ca", "name = 'a'\nstore = 'x'\nlisten = ':7600'\ncert = 'bad.pem'\n" + peers, "allowed only with ca", false},
		{"bad ca", "name = 'a'\nurl = 'tls://h:1'\nca = 'bad.pem'", `ca "bad.pem": the file contains no certificate`, true},
		{"url with listen", "name = 'a'\nurl = 'nats://h:1'\nlisten = ':7600'\n" + peers, "r.toml:5: cluster: listen: allowed only without url", true},
		{"url with a password", "name = 'a'\nurl = 'nats://u:secret@h:1'", "allowed are addresses without a password", true},
		{"url with another scheme", "name = 'a'\nurl = 'http://h:1'", `url "http://h:1": allowed are nats://host:port`, true},
		{"no credentials", "name = 'a'\nurl = 'nats://h:1'\ncredentials = 'none'", "no such file", true},
		{"two tables", "name = 'a'\nstore = 'x'\n[[cluster.x]]\n", "unknown table x in table cluster", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !natsengine.Built && !c.elsewhere {
				c.want = "build tag noengine"
			}
			_, faults := clusterOf(t, c.table)
			if !strings.Contains(strings.Join(faults, "\n"), c.want) || strings.Contains(strings.Join(faults, "\n"), "u:secret") {
				t.Errorf("got faults %q, want one with %q", faults, c.want)
			}
		})
	}
}

func TestClusterKeys(t *testing.T) {
	if !natsengine.Built {
		t.Skip("SKIPPED: the embedded NATS server is left out; run without the build tag noengine")
	}
	const three = "name = 'a'\nstore = 'x'\nlisten = ':7600'\npeers = ['127.0.0.1:7600', '127.0.0.1:7601', '127.0.0.1:7602']\n"
	for _, c := range []struct {
		table                   string
		nodes, needed, replicas int
		sync                    time.Duration
		listen, about           string
	}{
		{"name = 'a'\nstore = 'x'", 1, 1, 1, 2 * time.Minute, "", "a single node: topics and sessions have 1 copy, and are lost with its disk"},
		{three, 3, 2, 3, 2 * time.Minute, "127.0.0.1:7600", "3 nodes, of which 2 must be up; topics and sessions have 3 copies"},
		{three + "secret = 'secret'\nreplicas = 1\nsync-interval = 'always'", 3, 2, 1, -1, "127.0.0.1:7600", "3 nodes, of which 2 must be up; topics and sessions have 1 copy"},
		{"name = 'a'\nurl = ['nats://h:1', 'nats://i:1']\nreplicas = 3", 0, 1, 3, 2 * time.Minute, "", "NATS at nats://h:1, nats://i:1; topics and sessions have 3 copies"},
	} {
		got, faults := clusterOf(t, c.table)
		if got == nil {
			t.Errorf("%s: got faults %q, want none", c.table, faults)
			continue
		}
		if diff := cmp.Diff([]any{c.nodes, c.needed, c.replicas, c.sync, c.listen, c.about},
			[]any{got.Nodes, got.needed(), got.Replicas, got.Engine.SyncInterval, got.Engine.Listen, (&cluster{config: got}).about()}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.table, diff)
		}
	}
}

// Each changed key needs a restart, and a reload reports it again until then.
func TestClusterChanges(t *testing.T) {
	old, next := &config{process: &scope{}, Cluster: &clusterConfig{keys: clusterKeys{Name: "a", Replicas: "3", SyncInterval: "2m"}}},
		&config{process: &scope{}, Cluster: &clusterConfig{keys: clusterKeys{Name: "a", Replicas: "1", SyncInterval: "2m"}}}
	for range 2 {
		got := changesTo(old, next, nil)
		if len(got) != 1 || got[0].Key != "cluster.replicas" || got[0].Before != "3" || got[0].After != "1" || got[0].Effect != "needs a restart" {
			t.Errorf("changes: got %+v, want cluster.replicas from 3 to 1 at a restart", got)
		}
	}
	next.keep(old, nil)
	if got := changesTo(next, &config{process: &scope{}}, nil); len(got) != 2 {
		t.Errorf("changes without the table: got %+v, want those of name and replicas", got)
	}
}

// The reason of a disk that is too small says how much is needed.
func TestClusterAdvice(t *testing.T) {
	err := fmt.Errorf("session store: %w", &jetstream.APIError{ErrorCode: jetstreamNoStorage})
	if got, want := advice(err), "1 GiB"; !strings.Contains(got, want) {
		t.Errorf("advice(%v): got %q, want %q in it", err, got, want)
	}
	if got := advice(os.ErrNotExist); got != "" {
		t.Errorf("advice about another error: got %q, want none", got)
	}
}
