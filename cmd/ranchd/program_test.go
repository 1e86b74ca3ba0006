package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"goranch/transport"
)

// patience is how long a test waits for something that should happen at once.
const patience = 20 * time.Second

// output is what a program has written, for others to wait on.
type output struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{} // closed by the next write
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// line returns the first complete line that ok holds for, and waits until there is one.
func (o *output) line(t *testing.T, what string, ok func(line string) bool) string {
	t.Helper()
	late := time.After(patience)
	for {
		o.mu.Lock()
		text := o.text
		if o.changed == nil {
			o.changed = make(chan struct{})
		}
		changed := o.changed
		o.mu.Unlock()
		for {
			line, rest, complete := bytes.Cut(text, []byte("\n"))
			if !complete {
				break
			}
			if ok(string(line)) {
				return string(line)
			}
			text = rest
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s: no such line in\n%s", what, o)
		}
	}
}

// event waits for a JSON log line with that message, and those values of attributes.
func (o *output) event(t *testing.T, msg string, attrs map[string]any) map[string]any {
	t.Helper()
	var found map[string]any
	o.line(t, msg, func(line string) bool {
		var e map[string]any
		if json.Unmarshal([]byte(line), &e) != nil || e["msg"] != msg {
			return false
		}
		for k, v := range attrs {
			if e[k] != v {
				return false
			}
		}
		found = e
		return true
	})
	return found
}

// addr waits until a listener is started, and returns where.
func (o *output) addr(t *testing.T, listener string) string {
	t.Helper()
	return o.event(t, "listener started", map[string]any{"listener": listener})["addr"].(string)
}

// program is ranchd, running in this process.
type program struct {
	out, log output
	signals  chan os.Signal
	end      context.CancelFunc // as if the context given to run had ended
	code     chan int
}

// launch runs the program with these arguments and JSON logs of every connection.
func launch(t *testing.T, args ...string) *program {
	t.Helper()
	args = append(args, "--log-format", "json", "--log-level", "debug")
	return launchFunc(t, func(p *program, ctx context.Context) int { return run(ctx, args, &p.out, &p.log, p.signals) })
}

func launchFunc(t *testing.T, f func(*program, context.Context) int) *program {
	t.Helper()
	p := &program{signals: make(chan os.Signal, 8), code: make(chan int, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	p.end = cancel
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		p.code <- f(p, ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-gone
	})
	return p
}

// exits waits for the end and compares the exit code.
func (p *program) exits(t *testing.T, want int) {
	t.Helper()
	select {
	case got := <-p.code:
		if got != want {
			t.Errorf("exit code %d, want %d; log:\n%s", got, want, &p.log)
		}
	case <-time.After(patience):
		t.Fatalf("it does not end; log:\n%s", &p.log)
	}
}

// dial connects, and closes at the test's end.
func dial(t *testing.T, tr transport.Transport, addr string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nc, err := tr.Dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return nc
}

// trusting returns a TLS client that accepts the server with the certificate whose
// fingerprint is given, and no other.
func trusting(t *testing.T, sha256 string) transport.TLS {
	return transport.TLS{Config: &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if got := fingerprint(tls.Certificate{Certificate: [][]byte{s.PeerCertificates[0].Raw}}); got != sha256 {
				t.Errorf("the server's certificate is %s, logged was %s", got, sha256)
			}
			return nil
		},
	}}
}

// trustingFile returns a TLS client that trusts the certificate in a file.
func trustingFile(t *testing.T, file string) transport.TLS {
	t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return transport.TLS{Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
}

// echoes sends a word and wants it back.
func echoes(t *testing.T, nc net.Conn) {
	t.Helper()
	const word = "hello"
	if _, err := io.WriteString(nc, word); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != word {
		t.Fatalf("sent %q, got back %q, %v", word, got, err)
	}
}
