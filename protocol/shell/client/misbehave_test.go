package client_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol"
	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
	"goranch/transport"
)

const identification = "Client identification 1\n"

// script returns a protocol that answers the opening exchange, and later requests with answers, one
// after the other. It keeps the connection open after that.
func script(answers ...string) protocol.Func {
	return func(ctx context.Context, c *transport.Conn) error {
		io.WriteString(c, identification)
		r := bufio.NewReader(c)
		for _, answer := range append([]string{`{"id":1,"result":"json"}` + "\n"}, answers...) {
			if _, err := r.ReadString('\n'); err != nil {
				return err
			}
			io.WriteString(c, answer)
		}
		_, err := io.Copy(io.Discard, r)
		return err
	}
}

// TestDialRefusesOtherServers connects to servers that are not shells or refuse the connection.
func TestDialRefusesOtherServers(t *testing.T) {
	for sent, want := range map[string]string{
		"220 mail.example.org ESMTP\n":                              `not a shell: it sends "220 mail`,
		"error: too many sessions\n":                                "refuses the connection: too many sessions",
		identification + "error: unknown command format\n":          "request JSON answers: unknown command format",
		identification + `{"id":1,"error":{"message":"no"}}` + "\n": "request JSON answers: no",
		identification + strings.Repeat("x\n", 10):                  "EOF",
		identification[:10]:                                         "unexpected EOF",
		"":                                                          "EOF",
		strings.Repeat("x", 2000):                                   "more than 1000 bytes",
		identification + "\x00\xff{{\n" + `{"id":1}` + `{"id":1}`:   "EOF",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScriptedServer(t, func(_ context.Context, c *transport.Conn) error {
				io.WriteString(c, sent)
				c.CloseWrite()
				_, err := io.Copy(io.Discard, c)
				return err
			})
			_, err := client.Dial(t.Context(), client.Options{Transport: s, Addr: addr, MaxLine: 1000})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%.60q: got %v, want %q", sent, err, want)
			}
		})
	}
}

// TestAnswersOfNoRequest sends answers and lines that belong to no request. None of them may end
// the call or the connection.
func TestAnswersOfNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScriptedServer(t, script(strings.Join([]string{
			`{"id":0,"result":"of an earlier connection"}`, `{"id":1,"result":"again"}`, `{"id":-1}`, `{"id":99,"result":1}`,
			`{"id":99999999999999999999,"result":1}`, `{"id":"2","result":1}`, `{"result":1}`, `{"event":"later"}`, `{"id":2,"out":""}`,
			`[{"id":2}]`, `null`, ``, `{`, `{"id":2,"frame":true,"result":null}`, `{"id":2,"out64":"!"}`, `{"id":2,"result":"right"}`, ``,
		}, "\n")))
		c, r := s.dial(client.Options{})
		equal(t, "result", `"right"`, result(t, c, "x"))
		want := []string{
			"connected, resumed false", `output "{\"id\":99999999999999999999,\"result\":1}\n"`, `output "{\"id\":\"2\",\"result\":1}\n"`,
			`output "{\"result\":1}\n"`, `output ""`, `output "[{\"id\":2}]\n"`, `output "null\n"`, `output "\n"`, `output "{\n"`, "frame ",
			`output "{\"id\":2,\"out64\":\"!\"}\n"`,
		}
		equal(t, "callbacks", want, r.take())
	})
}

// TestOversizedAnswer checks that a line above MaxLine ends the connection, and one at it does not.
func TestOversizedAnswer(t *testing.T) {
	const limit = 10_000
	line := `{"id":2,"result":"` + strings.Repeat("x", limit-20) + `"}`
	for extra, want := range map[string]error{"": nil, " ": protocol.ErrFrameTooLarge} {
		synctest.Test(t, func(t *testing.T) {
			s := newScriptedServer(t, script(line+extra+"\n"))
			c, _ := s.dial(client.Options{MaxLine: limit, NoReconnect: true})
			_, err := c.Call(t.Context(), "x")
			if !errors.Is(err, want) || want != nil && !errors.Is(err, client.ErrDisconnected) {
				t.Errorf("%d bytes: got %v, want %v", len(line+extra), err, want)
			}
		})
	}
}

// TestReasonOfTheServer checks that the error of a call contains what the server has sent before it
// closed the connection.
func TestReasonOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{MaxLine: 100})
		c, _ := s.dial(client.Options{NoReconnect: true})
		_, err := c.Call(t.Context(), "echo "+strings.Repeat("x", 1000))
		if !errors.Is(err, client.ErrDisconnected) || !strings.Contains(err.Error(), "a line has more than 100 bytes") {
			t.Errorf("got %v, want ErrDisconnected with the server's reason", err)
		}
	})
}

// TestPanic checks that a connection which a command ends costs the client that connection only.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, _ := s.dial(client.Options{})
		if _, err := c.Call(t.Context(), "panic"); err == nil {
			t.Error("got no error, want one")
		}
		time.Sleep(time.Second)
		equal(t, "result", `"x"`, result(t, c, "echo x"))
	})
}

// TestStuckServer checks that the client leaves a server that does not read.
func TestStuckServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScriptedServer(t, func(ctx context.Context, c *transport.Conn) error {
			io.WriteString(c, identification+`{"id":1,"result":"json"}`+"\n")
			<-ctx.Done()
			return nil
		})
		c, _ := s.dial(client.Options{NoReconnect: true})
		began := time.Now()
		_, err := c.Call(t.Context(), "echo "+strings.Repeat("x", 200_000)) // more than the connection buffers
		if !errors.Is(err, client.ErrDisconnected) || time.Since(began) > 12*time.Second {
			t.Errorf("got %v after %v, want ErrDisconnected after 10s", err, time.Since(began))
		}
	})
}
