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

// patience bounds whatever a test waits for.
const patience = time.Minute

var quiet = slog.New(slog.DiscardHandler)

// start runs a listener until the test ends.
func start(t *testing.T, tr transport.Transport, opts ranch.Options, p protocol.Protocol) *ranch.Listener {
	t.Helper()
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	opts.Logger = quiet
	l, err := new(ranch.Server).StartListener("test", tr, opts, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() })
	return l
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// await waits for ch, with an end.
func await[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
		panic("unreachable")
	}
}

func dial(t *testing.T, tr transport.Transport, addr string) net.Conn {
	t.Helper()
	nc, err := tr.Dial(within(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return nc
}

// serverTLS has a certificate that nobody trusts.
func serverTLS(protos ...string) *tls.Config {
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	return &tls.Config{Certificates: ts.TLS.Certificates, NextProtos: protos}
}

// curl runs the program and returns what it prints.
func curl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("SKIPPED: no curl; apt-get install curl runs it")
	}
	cmd := exec.CommandContext(within(t), path, append([]string{"-sS", "-k", "--noproxy", "*", "--max-time", "50"}, args...)...)
	out, err := cmd.Output()
	if e, ok := err.(*exec.ExitError); ok {
		t.Logf("curl: %.500s", e.Stderr)
	}
	return string(out), err
}
