package netlisten_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"goranch/ranch"
	"goranch/transport"
)

const fileSize = 4 << 20

// A static file is sent by sendfile on plain TCP, as counted by strace.
func TestSendfile(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("SKIPPED: strace is not installed, so the use of sendfile is not tested; to run this test: apt-get install strace")
	}
	log := filepath.Join(t.TempDir(), "strace")
	cmd := exec.CommandContext(timeout(t), strace, "-f", "-qq", "--seccomp-bpf", "-e", "trace=sendfile", "-o", log,
		os.Args[0], "-test.run=^TestSendfileWorkload$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "GORANCH_SENDFILE_WORKLOAD=1")
	out, err := cmd.CombinedOutput()
	trace, _ := os.ReadFile(log)
	if len(trace) == 0 && err != nil {
		t.Skipf("SKIPPED: strace cannot trace here: %v\n%s", err, out)
	}
	if err != nil || strings.Contains(string(out), "SKIPPED") {
		t.Fatalf("got %v, want a run without errors\n%s", err, out)
	}
	sent := 0
	for _, m := range regexp.MustCompile(`sendfile(?:\(| resumed>).*= (\d+)\n`).FindAllStringSubmatch(string(trace), -1) {
		n, _ := strconv.Atoi(m[1])
		sent += n
	}
	if sent < fileSize-512 || sent > fileSize { // net/http reads 512 bytes to detect the content type
		t.Errorf("got %d bytes sent by sendfile, want %d", sent, fileSize)
	}
}

// TestSendfileWorkload is the program that TestSendfile traces.
func TestSendfileWorkload(t *testing.T) {
	if os.Getenv("GORANCH_SENDFILE_WORKLOAD") == "" {
		return
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, fileSize), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newTestServer(t, transport.TCP{}, ranch.Options{}, http.FileServer(http.Dir(dir)))
	res, err := http.Get(fmt.Sprintf("http://%s/file", w.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	n := 0
	for p := make([]byte, 64<<10); err == nil; {
		var m int
		m, err = res.Body.Read(p)
		n += m
	}
	if n != fileSize {
		t.Errorf("got %d bytes, %v, want %d", n, err, fileSize)
	}
}
