//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"goranch/internal/termtext"
	"goranch/transport"
)

// tintColor is what the coloured log itself sends to the terminal.
var tintColor = regexp.MustCompile("\x1b\\[[0-9;]*m")

// testNasty sends text that could control a terminal to every protocol, and looks at everything
// that a person reads: the logs in each format, the answers of both shells, traces and tables. Only
// echo and get return to a client what it has sent, byte for byte.
func testNasty(t *testing.T, bin string) {
	for _, format := range []string{"color", "text", "json"} {
		t.Run(format, func(t *testing.T) {
			admin, accessLog := "unix:"+filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "access.log")
			p := startProcess(t, bin, "--log-format", format, "--log-level", "debug", "--admin", admin, "--access-log", accessLog,
				"--listen", "shell+tcp://:0", "--listen", "topics+tcp://:0", "--listen", "packet+tcp://:0", "--listen", "web+tcp://:0", "--listen", "tls://:0")
			p.out.line(t, "the end of the banner", func(line string) bool { return strings.Contains(line, "Ctrl-C") })
			var read []byte
			operator := dial(t, transport.TCP{}, admin)
			operator.SetDeadline(time.Now().Add(timeout))
			io.WriteString(operator, "trace 127.0.0.0/8\n")
			addrs := map[string]string{}
			for _, m := range regexp.MustCompile(`(shell|topics|packet|web|echo)(?:-tcp|-tls): \S+ on \S+//(\S+)`).FindAllStringSubmatch(p.out.String(), -1) {
				addrs[m[1]] = m[2]
			}
			if len(addrs) != 5 {
				t.Fatalf("got the addresses %v in the banner, want 5:\n%s", addrs, &p.out)
			}
			for _, s := range termtext.Nasty {
				quoted := strconv.Quote(s)
				call := `{"jsonrpc":"2.0","method":` + quoted + `,"id":1}`
				read = append(read, exchange(t, addrs["shell"], s+"\nset "+s+" 1\nhistory\nreconnect:"+s+"\n")...)
				exchange(t, addrs["topics"], `{"action":`+quoted+"}\x00")
				exchange(t, addrs["topics"], s+"\x00")
				exchange(t, addrs["packet"], fmt.Sprintf("\x00\x00\x00%c%s", len(call), call))
				exchange(t, addrs["packet"], s)
				exchange(t, addrs["web"], "GET /"+s+" HTTP/1.1\r\nHost: "+s+"\r\nOrigin: "+s+"\r\n\r\n")
				exchange(t, addrs["echo"], s)
			}
			io.WriteString(operator, "cancel\nconnections\nclosed\nhistory\nformat json\nconnections\nclosed\nquit\n")
			b, err := io.ReadAll(operator)
			if err != nil || !bytes.Contains(b, []byte("rshell")) && !bytes.Contains(b, []byte("shell-tcp")) {
				t.Fatalf("got %q and error %v, want a trace", b, err)
			}
			var lines []byte // written in batches
			for end := time.Now().Add(timeout); !bytes.Contains(lines, []byte(`"reason":"bad input"`)); time.Sleep(time.Millisecond) {
				if lines, err = os.ReadFile(accessLog); err != nil || time.Now().After(end) {
					t.Fatalf("access log: got %q and error %v, want lines with faults of clients", lines, err)
				}
			}
			outputs := map[string]string{"access log": string(lines), "log": tintColor.ReplaceAllString(p.log.String(), ""), "banner": p.out.String(), "shell": string(read), "operators' shell": string(b)}
			for name, text := range outputs {
				for _, bad := range termtext.Forbidden {
					if i := strings.Index(text, bad); i >= 0 {
						t.Errorf("%s: got %q in it, want it escaped: %q", name, bad, text[max(0, i-80):min(len(text), i+40)])
					}
				}
			}
		})
	}
}

// exchange sends a request, closes the sending side and returns what the server sends.
func exchange(t *testing.T, addr, request string) []byte {
	t.Helper()
	nc := dial(t, transport.TCP{}, addr)
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(timeout))
	io.WriteString(nc, request)
	nc.(interface{ CloseWrite() error }).CloseWrite()
	b, _ := io.ReadAll(nc)
	return b
}
