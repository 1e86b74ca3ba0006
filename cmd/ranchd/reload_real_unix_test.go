//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/transport"
)

// reloadedFiles are the files of flags that ranchd reloads when they change.
var reloadedFiles = []struct {
	name   string
	fields []string // of flags, whose help says that the file is reloaded
	// Log messages of a valid, an invalid and an unchanged file.
	reloaded, invalid, unchanged string
	setup                        func(t *testing.T, dir string) reloadSetup
}{
	{"tokens", []string{"Tokens"},
		"token file reloaded", "token file is invalid; the previous tokens stay in use", "token file has not changed", setupTokens},
	{"certificate", []string{"Cert"},
		"certificate files reloaded", "certificate files are invalid; the previous certificates stay in use", "certificate files have not changed", setupCertificate},
	{"clientCA", []string{"ClientCA"},
		"certificate files reloaded", "certificate files are invalid; the previous certificates stay in use", "certificate files have not changed", setupClientCA},
	{"bans", []string{"BanFile"},
		"ban file reloaded", "ban file is invalid; the previous bans stay in use", "ban file has not changed", setupBans},
}

// reloadSetup is a server with files of which there are two versions, 0 and 1. Each version admits
// clients that the other one does not.
type reloadSetup struct {
	args     []string
	versions [2]map[string]string // content by path
	broken   map[string]string
	// accepts reports whether the server accepts the client of that version.
	accepts func(t *testing.T, p *process, version int) bool
	// connect opens a connection of version 0 and returns a check that it continues.
	connect func(t *testing.T, p *process) (check func(t *testing.T))
}

// TestReloadFiles checks for the built program that each file that is said to be reloaded is, by
// its change alone and at SIGHUP, and that an invalid or missing file leaves the previous content
// in use.
func TestReloadFiles(t *testing.T) {
	bin := buildProgram(t)
	for _, f := range reloadedFiles {
		for _, byChange := range []bool{true, false} {
			how, interval := "SIGHUP", "infinity"
			if byChange {
				how, interval = "change", "20ms"
			}
			t.Run(f.name+"/"+how, func(t *testing.T) {
				s := f.setup(t, t.TempDir())
				writeFiles(t, s.versions[0])
				p := startProcess(t, bin, append(s.args, "--log-format", "json", "--quiet", "--reload-interval", interval)...)
				r := &reloadTest{p, s, !byChange, map[string]int{}}
				p.log.event(t, "serving", nil)
				check := s.connect(t, p)
				r.wantAccepted(t, "at the start", true, false)
				writeFiles(t, s.broken)
				r.trigger(t, f.invalid)
				r.wantAccepted(t, "with an invalid file", true, false)
				writeFiles(t, s.versions[1])
				if !byChange {
					r.wantAccepted(t, "before the signal", true, false)
				}
				r.trigger(t, f.reloaded)
				r.wantAccepted(t, "with the new file", false, true)
				if !byChange {
					r.trigger(t, f.unchanged)
				}
				for path := range s.versions[1] {
					os.Remove(path)
				}
				r.trigger(t, f.invalid)
				r.wantAccepted(t, "without the file", false, true)
				check(t)
				p.cmd.Process.Signal(syscall.SIGTERM)
				p.wantExit(t, exitOK)
			})
		}
	}
}

// TestReloadFilesCoversHelp checks that TestReloadFiles has all flags whose help says that files
// are reloaded.
func TestReloadFilesCoversHelp(t *testing.T) {
	var want, got []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[flags]()) {
		if strings.Contains(f.Tag.Get("help"), "reloaded") {
			want = append(want, f.Name)
		}
	}
	for _, f := range reloadedFiles {
		got = append(got, f.fields...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags with reloaded files (-help +test):\n%s", diff)
	}
}

type reloadTest struct {
	*process
	reloadSetup
	signal bool           // files are read at SIGHUP only
	logged map[string]int // messages that trigger has waited for
}

// trigger sends SIGHUP, unless a change is enough, and waits for a log message, which may have been
// logged before.
func (r *reloadTest) trigger(t *testing.T, msg string) {
	t.Helper()
	line := `"msg":"` + msg + `"`
	before := r.logged[line]
	if r.signal {
		r.cmd.Process.Signal(syscall.SIGHUP)
	}
	r.log.line(t, fmt.Sprintf("the message %s, %d of them", msg, before+1), func(string) bool { return strings.Count(r.log.String(), line) > before })
	r.logged[line] = before + 1
}

// wantAccepted compares which clients the server accepts: that of version 0, and that of version 1.
func (r *reloadTest) wantAccepted(t *testing.T, when string, want ...bool) {
	t.Helper()
	var got []bool
	for version := range want {
		got = append(got, r.accepts(t, r.process, version))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s: clients of the old and of the new file that are accepted (-want +got):\n%s\nlog:\n%s", when, diff, &r.log)
	}
}

// writeFiles replaces files, each at once.
func writeFiles(t *testing.T, content map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(content)) {
		if err := os.WriteFile(path+".new", []byte(content[path]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// setupTokens has a token for each version, for both shells. No other flag has files.
func setupTokens(t *testing.T, dir string) (s reloadSetup) {
	file := filepath.Join(dir, "tokens")
	var tokens [2]string
	for i := range tokens {
		token, line, err := access.GenerateToken(shell.Operator, fmt.Sprint("user", i))
		if err != nil {
			t.Fatal(err)
		}
		tokens[i], s.versions[i] = token, map[string]string{file: line + "\n"}
	}
	s.broken = map[string]string{file: s.versions[1][file] + "invalid\n"}
	s.args = []string{"--listen", "s=shell+tcp://127.0.0.1:0", "--admin", "tcp://127.0.0.1:0", "--tokens", file}
	s.accepts = func(t *testing.T, p *process, version int) bool {
		public := strings.Contains(authAnswer(t, p.log.addr(t, "s"), tokens[version]), "operator")
		admin := strings.Contains(authAnswer(t, p.log.addr(t, "admin"), tokens[version]), "operator")
		if public != admin {
			t.Errorf("token %d: got %t from the public shell and %t from that of operators, want the same", version, public, admin)
		}
		return public
	}
	s.connect = func(t *testing.T, p *process) func(*testing.T) {
		nc := dial(t, transport.TCP{}, p.log.addr(t, "admin"))
		r := bufio.NewReader(nc)
		io.WriteString(nc, "auth:"+tokens[0]+"\n")
		readLines(r, 2) // the session id and the role
		return func(t *testing.T) {
			io.WriteString(nc, "suspend s\n") // for operators only
			if got, err := r.ReadString('\n'); err != nil || strings.HasPrefix(got, "error") {
				t.Errorf("operators' command in a session of the old token: got %q and error %v, want it allowed", got, err)
			}
		}
	}
	return s
}

// setupCertificate has a certificate and a key for each version.
func setupCertificate(t *testing.T, dir string) (s reloadSetup) {
	cert, key := filepath.Join(dir, "site.pem"), filepath.Join(dir, "site.key")
	var clients [2]transport.TLS
	for i := range clients {
		p := newPair(t, t.TempDir(), "site.test")
		clients[i] = p.client("site.test")
		s.versions[i] = map[string]string{cert: readFile(t, p.cert), key: readFile(t, p.key)}
	}
	s.broken = map[string]string{key: s.versions[1][key]} // of another certificate
	s.args = []string{"--listen", "e=tls://127.0.0.1:0", "--cert", cert, "--key", key, "--admin", "none"}
	s.accepts = func(t *testing.T, p *process, version int) bool {
		nc, ok := echoIfAccepted(t, clients[version], p.log.addr(t, "e"))
		return ok && nc.Close() == nil
	}
	s.connect = connectEcho(clients[0])
	return s
}

// setupClientCA has a client certificate for each version. The clients resume TLS sessions.
func setupClientCA(t *testing.T, dir string) (s reloadSetup) {
	file, site := filepath.Join(dir, "clients.pem"), newPair(t, t.TempDir(), "site.test")
	var clients [2]transport.TLS
	for i := range clients {
		client := newPair(t, t.TempDir(), fmt.Sprint("client", i))
		clients[i] = site.client("site.test", client.tls)
		clients[i].Config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		s.versions[i] = map[string]string{file: readFile(t, client.cert)}
	}
	s.broken = map[string]string{file: "invalid"}
	s.args = []string{"--listen", "e=tls://127.0.0.1:0", "--cert", site.cert, "--key", site.key, "--client-ca", file, "--admin", "none"}
	wasAccepted := [2]bool{}
	s.accepts = func(t *testing.T, p *process, version int) bool {
		nc, ok := echoIfAccepted(t, clients[version], p.log.addr(t, "e"))
		if !ok {
			return false
		}
		if got := nc.(*tls.Conn).ConnectionState().DidResume; got != wasAccepted[version] {
			t.Errorf("client %d: got a resumed TLS session: %t, want %t", version, got, wasAccepted[version])
		}
		wasAccepted[version] = true
		return nc.Close() == nil
	}
	first := site.client("site.test", clients[0].Config.Certificates...)
	s.connect = connectEcho(first)
	return s
}

// fromTCP connects from a loopback address.
type fromTCP struct {
	transport.TCP
	ip string
}

func (f fromTCP) Dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(f.ip)}}
	return d.DialContext(ctx, "tcp", addr)
}

// setupBans bans the other client in each version.
func setupBans(t *testing.T, dir string) (s reloadSetup) {
	clients := [2]fromTCP{{ip: "127.0.0.2"}, {ip: "127.0.0.3"}}
	for _, c := range clients {
		ln, err := net.Listen("tcp", c.ip+":0")
		if err != nil {
			t.Skipf("SKIPPED: the system has no loopback address %s; on macOS: sudo ifconfig lo0 alias %s", c.ip, c.ip)
		}
		ln.Close()
	}
	file := filepath.Join(dir, "bans")
	s.versions[0] = map[string]string{file: "# of version 0\n" + clients[1].ip + "\n"}
	s.versions[1] = map[string]string{file: clients[0].ip + " reset reason=a test\n"}
	s.broken = map[string]string{file: clients[0].ip + "\ninvalid\n"}
	s.args = []string{"--listen", "e=tcp://127.0.0.1:0", "--ban-file", file, "--admin", "none"}
	s.accepts = func(t *testing.T, p *process, version int) bool {
		nc, ok := echoIfAccepted(t, clients[version], p.log.addr(t, "e"))
		return ok && nc.Close() == nil
	}
	s.connect = func(t *testing.T, p *process) func(*testing.T) {
		nc := dial(t, clients[0], p.log.addr(t, "e"))
		checkEcho(t, nc)
		return func(t *testing.T) {
			if _, err := nc.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
				t.Errorf("live connection of a client that was banned: got %v, want it closed", err)
			}
		}
	}
	return s
}

// connectEcho returns a function that opens an echo connection, for reloadSetup.
func connectEcho(tr transport.TLS) func(*testing.T, *process) func(*testing.T) {
	return func(t *testing.T, p *process) func(*testing.T) {
		nc := dial(t, tr, p.log.addr(t, "e"))
		checkEcho(t, nc)
		return func(t *testing.T) { checkEcho(t, nc) }
	}
}

// echoIfAccepted connects and reports whether the server echoes a word. With TLS 1.3 the server
// refuses a client certificate after the client's handshake. If ok, the caller closes the
// connection.
func echoIfAccepted(t *testing.T, tr transport.Transport, addr string) (nc net.Conn, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	nc, err := tr.Dial(ctx, addr)
	if err != nil {
		return nil, false
	}
	nc.SetDeadline(time.Now().Add(timeout))
	word := []byte("hello")
	if _, err = nc.Write(word); err == nil {
		_, err = io.ReadFull(nc, word)
	}
	if os.IsTimeout(err) {
		t.Errorf("echo: got %v, want an answer or the end of the connection", err)
	}
	if err != nil {
		nc.Close()
	}
	return nc, err == nil
}
