package netlisten_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http/httptest"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout limits everything that a test waits for.
const testTimeout = time.Minute

var quiet = slog.New(slog.DiscardHandler)

// startListener starts a listener that stops when the test ends.
func startListener(t *testing.T, tr transport.Transport, opts ranch.Options, p protocol.Protocol) *ranch.Listener {
	t.Helper()
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.HandshakeTimeout == 0 {
		opts.HandshakeTimeout = testTimeout // handshakes may take long on a busy machine
	}
	opts.Logger = quiet
	l, err := new(ranch.Server).StartListener("test", tr, opts, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() })
	return l
}

// timeout returns a context that ends after testTimeout.
func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// receive receives from ch, for at most testTimeout. what describes the value.
func receive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(testTimeout):
		t.Fatalf("got no %s within %v", what, testTimeout)
		panic("unreachable")
	}
}

func dial(t *testing.T, tr transport.Transport, addr string) net.Conn {
	t.Helper()
	nc, err := tr.Dial(timeout(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(testTimeout))
	return nc
}

// serverTLS returns a configuration with a self-signed certificate.
func serverTLS(protos ...string) *tls.Config {
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	return &tls.Config{Certificates: ts.TLS.Certificates, NextProtos: protos}
}

// needCurl skips the test if curl is not installed. It is called before anything is started.
func needCurl(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("SKIPPED: curl is not installed; to run this test: apt-get install curl")
	}
}

// curl runs curl and returns its output.
func curl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(timeout(t), "curl", append([]string{"-sS", "-k", "--noproxy", "*", "--max-time", "50"}, args...)...)
	out, err := cmd.Output()
	if e, ok := err.(*exec.ExitError); ok {
		t.Logf("curl: %.500s", e.Stderr)
	}
	return string(out), err
}
