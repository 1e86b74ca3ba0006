package console

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol"
	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
	"goranch/transport"
)

func TestCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{Version: "v1.2.3"})
		var above io.Writer
		c := newTerminal(t, &s.mem, Options{Name: "test", Above: func(w io.Writer) { above = w }})
		c.expect("", "test> ")
		c.expect("version\r", "v1.2.3\n", "test> ")
		c.expect("rooms\r", "ROOM      SENT\nlobby  1.5 KiB\n")
		c.expect("format json\r")
		c.expect("rooms\r", "\"sent\": 1536\n")
		c.expect("format xml\r", "error: format xml: allowed are text and json")
		c.expect("format:text\r")
		c.expect("version\r", "v1.2.3\n")
		c.expect("versio\r", `error: unknown command "versio"; did you mean version?`)
		c.expect("reconnect:1\r", "error: reconnect is reserved for the client")
		c.expect("partial\r", "no line feed\n")
		c.expect("later\r")
		time.Sleep(time.Second)
		c.expect("", "late output")
		io.WriteString(above, "log line\n")
		c.expect("", "log line\n")
		time.Sleep(time.Second)
		c.expect(" \r", "test> ")
		c.expectEnd("quit\r", nil)
		if n := len(s.shell.Sessions().List()); n != 0 {
			t.Errorf("sessions after quit: got %d, want none", n)
		}
	})
}

func TestEndOfInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		newTerminal(t, &s.mem, Options{}).expectEnd("\x04", nil) // Ctrl-D
	})
}

func TestCompletionAndHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		file := filepath.Join(t.TempDir(), "history")
		c := newTerminal(t, &s.mem, Options{HistoryFile: file})
		c.expect("")
		c.expect("sta\t", "t")                                 // the common prefix
		c.expect("\t", "stats   status\n")                     // the candidates
		c.expect("u\t\r", "Status:")                           // the only one
		c.expect("auth:secret\t", "secret")                    // not sent for completion
		c.expect("\r", "error: this server accepts no tokens") // the answer of the shell
		c.expect("slo\t", "w ")
		c.expect("\x03\x12", "")               // Ctrl-C clears the line; Ctrl-R
		c.expect("\x03tat\x12", "us")          // finds status
		c.expect("\x12\r", "Status:")          // there is no other
		c.expect("\x1b[A\r", "Status:")        // Up
		c.expect(" echo private\r", "private") // not in the history
		c.expect("echo 'a b\t", "'a b")        // nothing to complete
		c.expectEnd("\x03\x04", nil)
		b, err := os.ReadFile(file)
		if diff := cmp.Diff("status\n", string(b)); diff != "" || err != nil {
			t.Errorf("history file: %v (-want +got):\n%s", err, diff)
		}
	})
}

func TestAuth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{Token: func(_ context.Context, _ *transport.Conn, token string) (shell.User, error) {
			if token != "secret" {
				return shell.User{}, errors.New("the token is not valid")
			}
			return shell.User{Name: "ops", Role: shell.Operator}, nil
		}})
		c := newTerminal(t, &s.mem, Options{})
		c.expect("auth\r", "token: ")
		if got := c.typeKeys("secret\r"); strings.Contains(got, "secret") || !strings.Contains(got, "ops, operator") {
			t.Errorf("got %q, want the answer and not the token", got)
		}
		c.expect("auth\r", "token: ")
		c.expect("\r", "> ") // no token
		c.expect("auth:x\r", "error: the token is not valid")
	})
}

// TestInterrupt checks that the first Ctrl-C cancels a command and the second one stops waiting.
func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c := newTerminal(t, &s.mem, Options{})
		c.expect("slow\r", "begun\n")
		c.expect("typed ahead\x03", "error: cancelled\n")
		c.expect("stubborn\r")
		c.expect("\x03")
		c.expect("\x03", "not waiting for the answer any longer")
		c.expect("echo next\r")
		time.Sleep(time.Minute)
		c.expect("", "next\n")
		c.expect("top\r", alternateScreen, "FRAME", "    2")
		c.expect("xq", normalScreen, "FRAME\n    2\n> ")
		if got := c.typeKeys("\r"); strings.Contains(got, "x") {
			t.Errorf("got %q, want no key that was pressed during the frames", got)
		}
	})
}

// TestReconnect checks what the console shows about a connection that breaks.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c := newTerminal(t, &s.mem, Options{})
		c.expect("set colour green\r")
		c.expect("drop\r", "error: the connection has ended: ", "; the command may have been executed\n")
		time.Sleep(time.Second)
		c.expect("", "connection lost; reconnected after 0.1 s\n")
		c.expect("get colour\r", "green\n")

		c.expect("echo hal")
		s.stop()
		c.expect("lo", "lo") // typing continues while there is no server
		c.expect("\r")
		if got := c.typeKeys("\x03"); !strings.Contains(got, "not waiting for the answer any longer") {
			t.Errorf("Ctrl-C without a connection: got %q, want the end of waiting", got)
		}
		c.expect("echo hallo\r")
		s.start(shell.Options{})
		time.Sleep(10 * time.Second)
		c.expect("", "connection lost; reconnected after ", " s, in a new session: the earlier one has ended\n", "hallo\n")
		c.expectEnd("exit\r", nil)
	})
}

func TestTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c := newTerminal(t, &s.mem, Options{})
		lines := strings.Split(c.typeKeys("id\r"), "\n")
		testClient(t, &s.mem, client.Options{Session: lines[len(lines)-2]})
		c.expectEnd("", client.ErrTakenOver)
	})
}

func TestShutdownNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c := newTerminal(t, &s.mem, Options{})
		c.expect("")
		s.stop()
		c.expect("", "the server is shutting down\n")
		c.expectEnd("\x04", nil)
		s.start(shell.Options{})
	})
}

// TestHostileServer checks that nothing of what a server sends reaches the terminal as a control
// sequence, except for colours.
func TestHostileServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const title = "\x1b]0;title\x07"
		var mem transport.Mem
		l := listen(t, &mem, protocol.Func(func(_ context.Context, c *transport.Conn) error {
			io.WriteString(c, "Client identification 1\n"+"text "+title+"\n"+`{"event":"lost","bytes":2048}`+"\n")
			b := make([]byte, 100)
			for n := 1; ; n++ {
				read, err := c.Read(b)
				if err != nil {
					return nil
				}
				answer := `["\u001b]0;title\u0007"]`
				if strings.HasPrefix(string(b[:read]), "fields") {
					answer = `{"a":"\u001b]0;title\u0007"},"fields":[{"key":"a","title":"\u001b]0;"}]`
				}
				io.WriteString(c, strings.Replace(`{"id":N,"result":`+answer+"}\n", "N", string(rune('0'+n%10)), 1))
			}
		}))
		defer l.Stop()
		c := newTerminal(t, &mem, Options{})
		time.Sleep(time.Second)
		var all strings.Builder
		for _, keys := range []string{"", "x\r", "fields\r", "com\t"} {
			all.WriteString(c.typeKeys(keys))
			time.Sleep(3 * time.Second) // a completion that gets no answer
		}
		if got := all.String(); strings.Contains(got, "\x1b]") || strings.Contains(got, "\x07") || strings.Count(got, "title") < 3 {
			t.Errorf("got %q, want escaped control sequences", got)
		}
		if !strings.Contains(all.String(), "the server has discarded 2.0 KiB of output") {
			t.Errorf("got %q, want the notice of lost output", all.String())
		}
	})
}

func TestRunFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mem transport.Mem
		newTerminal(t, &mem, Options{}).expectEnd("", syscall.ECONNREFUSED)
		s := newTestServer(t, shell.Options{})
		ctx, cancel := context.WithCancelCause(t.Context())
		r, w := io.Pipe()
		defer w.Close()
		reason := errors.New("reason")
		time.AfterFunc(time.Second, func() { cancel(reason) })
		err := Run(ctx, Options{In: r, Out: io.Discard, Client: client.Options{Transport: &s.mem, Addr: "shell"}})
		if !errors.Is(err, reason) {
			t.Errorf("got %v, want the cause of the context", err)
		}
	})
}
