package main

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/transport"
)

// A changed token file is reloaded, so a removed token is no longer valid. An invalid file is
// reported.
func TestTokenReload(t *testing.T) {
	token, line, err := access.GenerateToken(shell.Operator, "ann")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(line + "\n")
	p := startProgram(t, "--listen", "s=shell+tcp://127.0.0.1:0", "--tokens", file, "--reload-interval", "10ms")
	addr := p.log.addr(t, "s")
	if got := authAnswer(t, addr, token); !strings.Contains(got, "operator") {
		t.Errorf("valid token: got %q, want the role operator", got)
	}
	write("invalid\n")
	p.log.event(t, "token file is invalid; the previous tokens stay in use", nil)
	if got := authAnswer(t, addr, token); !strings.Contains(got, "operator") {
		t.Errorf("valid token after an invalid file: got %q, want the role operator", got)
	}
	write("")
	p.log.event(t, "token file reloaded", nil)
	if got := authAnswer(t, addr, token); !strings.HasPrefix(got, "error") {
		t.Errorf("removed token: got %q, want an error", got)
	}
	if strings.Contains(p.log.String(), token) {
		t.Error("the log contains the token")
	}
}

// authAnswer presents a token and returns the answer.
func authAnswer(t *testing.T, addr, token string) string {
	t.Helper()
	nc := dial(t, transport.TCP{}, addr)
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(timeout))
	io.WriteString(nc, "auth:"+token+"\n")
	r := bufio.NewReader(nc)
	r.ReadString('\n') // the session id
	answer, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
