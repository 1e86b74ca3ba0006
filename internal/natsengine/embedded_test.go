//go:build !noengine

package natsengine

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"goranch/internal/clustertest"
)

// logBuffer collects log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func slogText(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start starts an engine that the end of the test closes.
func start(t *testing.T, o Options) (*Engine, *logBuffer) {
	t.Helper()
	var log logBuffer
	o.Logger = slogText(&log)
	if o.Store == "" && len(o.URLs) == 0 {
		o.Store = filepath.Join(t.TempDir(), "cluster")
	}
	e, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e, &log
}

// waitUntil waits until an engine is ready, or degraded for a reason that contains a text.
func waitUntil(t *testing.T, e *Engine, log *logBuffer, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := e.Degraded()
		if text == "" && err == nil || text != "" && err != nil && strings.Contains(err.Error(), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("engine %s: got reason %v, want %q; its log:\n%s", e.opts.Name, err, text, log)
		}
	}
}

func TestAlone(t *testing.T) {
	e, log := start(t, Options{Name: "a"})
	waitUntil(t, e, log, "")
	js, err := jetstream.New(e.Conn())
	if err == nil {
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}})
	}
	if err == nil {
		_, err = js.Publish(t.Context(), "s.x", []byte("hello"))
	}
	if err != nil || e.Nodes() != 1 || !e.Embedded() {
		t.Errorf("publish: got %v, %d nodes, embedded %v, want none, 1 and true", err, e.Nodes(), e.Embedded())
	}
}

// Three nodes elect a leader. At the first start all are needed, and the reason says so.
func TestThreeNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second: run without -short")
	}
	peers := clustertest.FreeAddresses(t, 3)
	for i, p := range peers {
		e, log := start(t, Options{Name: fmt.Sprint("n", i), Listen: p, Peers: peers, Secret: "correct horse"})
		began := time.Now()
		if i == 1 {
			waitUntil(t, e, log, "2 of 3 nodes are connected, and the first start of a cluster needs all")
		}
		if i == 2 {
			waitUntil(t, e, log, "")
			t.Logf("ready after %v", time.Since(began))
			if strings.Contains(log.String(), secretOf("correct horse")) {
				t.Errorf("log: got the secret, want none:\n%s", log)
			}
		}
	}
}

func TestStartRefuses(t *testing.T) {
	used, log := start(t, Options{Name: "a"})
	waitUntil(t, used, log, "")
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	dir := t.TempDir()
	other, err := openStore(filepath.Join(dir, "b"), "b", false)
	if err != nil {
		t.Fatal(err)
	}
	other.close()
	for _, c := range []struct {
		name, want string
		o          Options
	}{
		{"a store in use", "another process uses it", Options{Name: "a", Store: used.opts.Store}},
		{"the store of another node", `belongs to node "b"`, Options{Name: "a", Store: filepath.Join(dir, "b")}},
		{"the store of a standalone node", "created by a node alone", Options{Name: "b", Store: filepath.Join(dir, "b"), Listen: clustertest.FreeAddresses(t, 1)[0]}},
		{"a store in a directory that does not exist", "no such file", Options{Name: "a", Store: filepath.Join(dir, "c", "d")}},
		{"an address in use", "address already in use", Options{Name: "a", Store: filepath.Join(dir, "e"), Listen: listening.Addr().String()}},
	} {
		o := c.o
		o.Logger = slog.New(slog.DiscardHandler)
		e, err := Start(o)
		if err == nil {
			e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", c.name, err, c.want)
		}
	}
}
