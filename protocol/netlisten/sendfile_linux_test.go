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

// A static file goes out by sendfile on plain TCP; strace counts.
func TestSendfile(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("SKIPPED: no strace, so nothing shows that sendfile is used; apt-get install strace runs it")
	}
	log := filepath.Join(t.TempDir(), "strace")
	cmd := exec.CommandContext(within(t), strace, "-f", "-qq", "--seccomp-bpf", "-e", "trace=sendfile", "-o", log,
		os.Args[0], "-test.run=^TestSendfileWorkload$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "GORANCH_SENDFILE_WORKLOAD=1")
	out, err := cmd.CombinedOutput()
	trace, _ := os.ReadFile(log)
	if len(trace) == 0 && err != nil {
		t.Skipf("SKIPPED: strace cannot trace here: %v\n%s", err, out)
	}
	if err != nil || strings.Contains(string(out), "SKIPPED") {
		t.Fatalf("%v\n%s", err, out)
	}
	sent := 0
	for _, m := range regexp.MustCompile(`sendfile(?:\(| resumed>).*= (\d+)\n`).FindAllStringSubmatch(string(trace), -1) {
		n, _ := strconv.Atoi(m[1])
		sent += n
	}
	if sent < fileSize-512 || sent > fileSize { // http looks at 512 bytes for the type of the content
		t.Errorf("of %d bytes %d went by sendfile", fileSize, sent)
	}
}

// TestSendfileWorkload is what TestSendfile watches.
func TestSendfileWorkload(t *testing.T) {
	if os.Getenv("GORANCH_SENDFILE_WORKLOAD") == "" {
		return
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, fileSize), 0o600); err != nil {
		t.Fatal(err)
	}
	w := serve(t, transport.TCP{}, ranch.Options{}, http.FileServer(http.Dir(dir)))
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
		t.Errorf("received %d bytes: %v", n, err)
	}
}
