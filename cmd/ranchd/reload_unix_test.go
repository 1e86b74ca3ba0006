//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// testReload exchanges the files under the program, as certbot and its hook do.
func testReload(t *testing.T, bin string) {
	dir := t.TempDir()
	old := newPair(t, dir, "a.test")
	c := spawn(t, bin, "--listen", "tls://127.0.0.1:0", "--cert", old.cert, "--key", old.key, "--reload-interval", "infinity", "--log-format", "json")
	addr := c.log.addr(t, "echo-tls")
	before := dial(t, old.client("a.test"), addr)
	echoes(t, before)
	if got := seenByOpenSSL(t, addr); got != old.fingerprint() {
		t.Errorf("openssl sees %s, want %s", got, old.fingerprint())
	}

	next := newPair(t, dir, "a.test")
	if got := seenByOpenSSL(t, addr); got != old.fingerprint() {
		t.Errorf("before the signal openssl sees %s", got)
	}
	c.cmd.Process.Signal(syscall.SIGHUP)
	c.log.event(t, "a new certificate is in use", map[string]any{"sha256": next.fingerprint()})
	if got := seenByOpenSSL(t, addr); got != next.fingerprint() {
		t.Errorf("openssl sees %s, want %s", got, next.fingerprint())
	}
	echoes(t, before)

	c.cmd.Process.Signal(syscall.SIGHUP)
	c.log.event(t, "the certificate files have not changed", nil)
	c.cmd.Process.Signal(syscall.SIGTERM)
	c.exits(t, exitInOrder)
}

// seenByOpenSSL returns the fingerprint of the certificate that s_client is shown.
func seenByOpenSSL(t *testing.T, addr string) string {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("SKIPPED: no openssl: apt-get install openssl")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, openssl, "s_client", "-connect", addr, "-servername", "a.test")
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.Output()
	b, _ := pem.Decode(out[max(0, strings.Index(string(out), "-----BEGIN")):])
	if err != nil || b == nil {
		t.Fatalf("s_client: %v\n%s", err, out)
	}
	return fingerprint(tls.Certificate{Certificate: [][]byte{b.Bytes}})
}
