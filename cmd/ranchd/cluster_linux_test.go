package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"goranch/internal/clustertest"
	"goranch/internal/natsengine"
	topics "goranch/protocol/pubsub/client"
	"goranch/transport"
)

// A node of two that starts first serves what needs no other node, and says to load balancers, to
// operators and to the service manager why it is not ready; also when the second node does not fit.
// It is ready with a second node that does.
func TestClusterFirstNode(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds: run without -short")
	}
	if !natsengine.Built {
		t.Skip("SKIPPED: the embedded NATS server is left out; run without the build tag noengine")
	}
	t.Parallel()
	bin, dir, m := buildProgram(t), t.TempDir(), newManager(t)
	var ports []string
	for _, p := range clustertest.FreeAddresses(t, 2) {
		ports = append(ports, strings.Replace(p, "127.0.0.1", "localhost", 1))
	}
	for _, d := range []string{"a", "b", "expired"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	pairs := map[string]pair{
		"a": newPair(t, filepath.Join(dir, "a"), "localhost"), "b": newPair(t, filepath.Join(dir, "b"), "localhost"),
		"expired": newPairUntil(t, filepath.Join(dir, "expired"), "localhost", time.Now().Add(-time.Minute)),
	}
	ca, secret, wrong := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "secret"), filepath.Join(dir, "wrong")
	writeFiles(t, map[string]string{
		ca:     readFile(t, pairs["a"].cert) + readFile(t, pairs["b"].cert) + readFile(t, pairs["expired"].cert),
		secret: strings.Repeat("s", 32), wrong: strings.Repeat("w", 32),
	})
	newNode := func(name string, i int, certificate, secret string) *clusterNode {
		p := pairs[certificate]
		return newClusterNode(t, name, ports[i], ports, fmt.Sprintf("secret = %q\ncert = %q\nkey = %q\nca = %q\n", secret, p.cert, p.key, ca)+`
[[listener]]
name = "echo"
address = "127.0.0.1:0"
`)
	}
	a := newNode("a", 0, "a", secret)
	a.args = append(a.args, "--admin-http", "127.0.0.1:0")
	a.env = []string{"NOTIFY_SOCKET=" + m.name}
	a.run(t, bin)
	degraded := func(want string) {
		t.Helper()
		for end := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
			status, got := request(t, a.log.addr(t, "admin-http"), http.MethodGet, "/readyz?verbose", "", "")
			if ok, _ := regexp.MatchString(`\[-\] cluster: .*(`+want+`)`, got); ok && status == http.StatusServiceUnavailable {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("readiness: got %d\n%s\nwant 503 and %q", status, got, want)
			}
		}
	}
	degraded("1 of 2 nodes are connected")
	for !strings.Contains(m.receive(t), "STATUS=serving; cluster degraded: 1 of 2 nodes are connected") {
	}
	checkEcho(t, dial(t, transport.TCP{}, a.log.addr(t, "echo")))
	// Each client of topics has a session, which is the cluster's.
	_, err := topics.Dial(t.Context(), topics.Options{Addr: a.log.addr(t, "topics")})
	if err == nil || !strings.Contains(err.Error(), "are not available yet: 1 of 2 nodes") {
		t.Errorf("client of topics: got error %v, want the reason", err)
	}

	expired := newNode("b", 1, "expired", secret)
	expired.run(t, bin)
	degraded("certificate has expired")
	expired.cmd.Process.Kill()
	<-expired.done
	stranger := newNode("b", 1, "b", wrong)
	stranger.run(t, bin)
	degraded("Authorization Violation|authentication error")
	stranger.cmd.Process.Kill()
	<-stranger.done

	newNode("b", 1, "b", secret).run(t, bin)
	a.ready(t)
	for m.receive(t) != "STATUS=serving" {
	}
	if status, got := request(t, a.log.addr(t, "admin-http"), http.MethodGet, "/readyz", "", ""); status != http.StatusOK {
		t.Errorf("readiness with two nodes: got %d %s, want 200", status, got)
	}
	if _, err := topicsClient(t, a.log.addr(t, "topics")).Publish(t.Context(), "news", "e", "1", nil); err != nil {
		t.Errorf("publish to an ordered topic: got error %v, want none", err)
	}
	for _, text := range []string{strings.Repeat("s", 32), strings.Repeat("w", 32)} {
		if strings.Contains(a.log.String(), text) {
			t.Errorf("log: got the secret, want none")
		}
	}
}
