package main

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"goranch/conns"
	"goranch/examples/internal/transcript"
)

// newTestServer starts a broker and returns it, its port, and a function that closes it.
func newTestServer(t *testing.T, limit int) (clients *adapter, port string, closeBroker func()) {
	t.Helper()
	broker, clients, err := start("127.0.0.1:0", limit)
	if err != nil {
		t.Fatal(err)
	}
	closeBroker = sync.OnceFunc(func() { broker.Close() })
	t.Cleanup(closeBroker)
	_, port, err = net.SplitHostPort(clients.Address())
	if err != nil {
		t.Fatal(err)
	}
	return clients, port, closeBroker
}

func TestTranscript(t *testing.T) {
	transcript.Need(t, "mosquitto_pub", "mosquitto-clients")
	_, port, _ := newTestServer(t, 100)
	transcript.Check(t, "mqtt", "1883", port)
}

// A subscriber receives what a publisher sends, and DISCONNECT when the broker stops.
func TestPublishAndShutdown(t *testing.T) {
	transcript.Need(t, "mosquitto_sub", "mosquitto-clients")
	clients, port, closeBroker := newTestServer(t, 100)
	sub := subscribe(t, port)
	publish(t, port, "", "-t", "a/b", "-m", "hello")
	sub.WaitFor("a/b hello")
	closeBroker()
	sub.WaitFor("Received DISCONNECT (139)") // server shutting down
	if got := clients.listener.Info().Reasons; got[conns.BadInput]+got[conns.Failed] > 0 {
		t.Errorf("reasons of ended connections: got %v, want no error", got)
	}
}

// At the cap a client receives the CONNACK of its version, and a slot is free again when a client
// has disconnected.
func TestCap(t *testing.T) {
	transcript.Need(t, "mosquitto_sub", "mosquitto-clients")
	clients, port, _ := newTestServer(t, 1)
	subscribe(t, port)
	publish(t, port, "Connection Refused: broker unavailable.", "-V", "311", "-t", "a/b", "-m", "hello")
	publish(t, port, "Server busy", "-V", "5", "-t", "a/b", "-m", "hello")
	if got := clients.listener.Info().Reasons[conns.RefusedAtCap]; got != 2 {
		t.Errorf("connections refused at the cap: got %d, want 2", got)
	}
}

// What is not MQTT costs its own connection only.
func TestBadInput(t *testing.T) {
	clients, port, _ := newTestServer(t, 10)
	nc, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "GET / HTTP/1.1\r\n\r\n")
	if b, _ := io.ReadAll(nc); len(b) > 0 {
		t.Errorf("answer: got %q, want none", b)
	}
	clients.listener.Stop()
	if got := clients.listener.Info().Reasons; got[conns.BadInput] != 1 {
		t.Errorf("reasons of ended connections: got %v, want one for bad input", got)
	}
}

// subscribe starts a subscriber, and waits until it has subscribed.
func subscribe(t *testing.T, port string) *transcript.Terminal {
	t.Helper()
	sub := transcript.Start(t, "stdbuf", "-oL", "mosquitto_sub", "-V", "5", "-d", "-p", port, "-t", "a/#", "-v")
	sub.WaitFor("Subscribed")
	return sub
}

// publish runs mosquitto_pub, which must fail with the error, or succeed if that is "".
func publish(t *testing.T, port, wantError string, args ...string) {
	t.Helper()
	out, err := exec.Command("mosquitto_pub", append([]string{"-p", port}, args...)...).CombinedOutput()
	if (err == nil) != (wantError == "") || !strings.Contains(string(out), wantError) {
		t.Errorf("mosquitto_pub %q: got error %v and %q, want %q", args, err, out, wantError)
	}
}
