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

// testReload replaces the files and sends SIGHUP, like certbot with a hook.
func testReload(t *testing.T, bin string) {
	openssl := requireProgram(t, "openssl", "openssl")
	dir := t.TempDir()
	old := newPair(t, dir, "a.test")
	p := startProcess(t, bin, "--listen", "tls://127.0.0.1:0", "--cert", old.cert, "--key", old.key, "--reload-interval", "infinity", "--log-format", "json")
	addr := p.log.addr(t, "echo-tls")
	before := dial(t, old.client("a.test"), addr)
	checkEcho(t, before)
	if got := opensslFingerprint(t, openssl, addr); got != old.fingerprint() {
		t.Errorf("certificate: got %s, want %s", got, old.fingerprint())
	}

	next := newPair(t, dir, "a.test")
	if got := opensslFingerprint(t, openssl, addr); got != old.fingerprint() {
		t.Errorf("certificate before the signal: got %s, want %s", got, old.fingerprint())
	}
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.log.event(t, "new certificate in use", map[string]any{"sha256": next.fingerprint()})
	if got := opensslFingerprint(t, openssl, addr); got != next.fingerprint() {
		t.Errorf("certificate after the signal: got %s, want %s", got, next.fingerprint())
	}
	checkEcho(t, before)

	p.cmd.Process.Signal(syscall.SIGHUP)
	p.log.event(t, "certificate files have not changed", nil)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitOK)
}

// opensslFingerprint returns the fingerprint of the certificate that openssl s_client receives.
func opensslFingerprint(t *testing.T, openssl, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, openssl, "s_client", "-connect", addr, "-servername", "a.test")
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.Output()
	b, _ := pem.Decode(out[max(0, strings.Index(string(out), "-----BEGIN")):])
	if err != nil || b == nil {
		t.Fatalf("openssl s_client: got error %v and output\n%s\nwant a certificate", err, out)
	}
	return fingerprint(tls.Certificate{Certificate: [][]byte{b.Bytes}})
}
