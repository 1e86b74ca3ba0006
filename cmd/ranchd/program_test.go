package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"goranch/transport"
)

// timeout limits each wait of a test.
const timeout = time.Minute

// output is the output of a program. It can be read while the program writes.
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

// line waits for a complete line for which ok returns true, and returns the first.
func (o *output) line(t testing.TB, what string, ok func(line string) bool) string {
	t.Helper()
	expired := time.After(timeout)
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
		case <-expired:
			t.Fatalf("got output\n%s\nwant a line with %s", o, what)
		}
	}
}

// event waits for a JSON log line with the message and the attributes.
func (o *output) event(t testing.TB, msg string, attrs map[string]any) map[string]any {
	t.Helper()
	var found map[string]any
	o.line(t, "the message "+msg, func(line string) bool {
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

// addr waits until a listener is started and returns its address.
func (o *output) addr(t testing.TB, listener string) string {
	t.Helper()
	return o.event(t, "listener started", map[string]any{"listener": listener})["addr"].(string)
}

// selfSigned waits for the fingerprint of the self-signed certificate.
func (o *output) selfSigned(t *testing.T) string {
	t.Helper()
	return o.event(t, "using a self-signed certificate, for testing only", nil)["sha256"].(string)
}

// program is ranchd in this process.
type program struct {
	out, log output
	signals  chan os.Signal
	stop     context.CancelFunc // ends the context of run
	code     chan int
}

// startProgram runs the program with these arguments and a JSON log at level debug.
func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	args = append(args, "--log-format", "json", "--log-level", "debug")
	return startFunc(t, func(p *program, ctx context.Context) int { return run(ctx, args, &p.out, &p.log, p.signals) })
}

func startFunc(t *testing.T, f func(*program, context.Context) int) *program {
	t.Helper()
	p := &program{signals: make(chan os.Signal, 8), code: make(chan int, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.code <- f(p, ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return p
}

// wantExit waits for the end of the program and compares its exit code.
func (p *program) wantExit(t *testing.T, want int) {
	t.Helper()
	select {
	case got := <-p.code:
		if got != want {
			t.Errorf("exit code: got %d, want %d; log:\n%s", got, want, &p.log)
		}
	case <-time.After(timeout):
		t.Fatalf("the program is running after %v, want exit code %d; log:\n%s", timeout, want, &p.log)
	}
}

// dial connects, and closes the connection at the end of the test.
func dial(t testing.TB, tr transport.Transport, addr string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	nc, err := tr.Dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(timeout))
	return nc
}

// tlsByFingerprint returns a TLS transport that accepts only the certificate with that fingerprint.
func tlsByFingerprint(t *testing.T, sha256 string) transport.TLS {
	return transport.TLS{Config: &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if got := fingerprint(tls.Certificate{Certificate: [][]byte{s.PeerCertificates[0].Raw}}); got != sha256 {
				t.Errorf("certificate of the server: got %s, want %s", got, sha256)
			}
			return nil
		},
	}}
}

// tlsByFile returns a TLS transport that trusts the certificate in a file.
func tlsByFile(t *testing.T, file string) transport.TLS {
	t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return transport.TLS{Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
}

// checkEcho sends a word and wants it back.
func checkEcho(t *testing.T, nc net.Conn) {
	t.Helper()
	const word = "hello"
	if _, err := io.WriteString(nc, word); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != word {
		t.Fatalf("echo: got %q and error %v, want %q", got, err, word)
	}
}

// fillBuffers sends without receiving until the server blocks in a write.
func fillBuffers(t *testing.T, nc net.Conn) {
	t.Helper()
	for chunk := make([]byte, 1<<20); ; {
		// If the kernel accepts nothing for this long, all buffers in both directions are full.
		nc.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := nc.Write(chunk); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
