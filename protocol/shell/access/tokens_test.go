package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
)

// lineOf returns the line of a token in the token file.
func lineOf(role, name, token string) string {
	return fmt.Sprintf("%s %s sha256:%x\n", role, name, sha256.Sum256([]byte(token)))
}

const (
	opsToken  = "ranch_0123456789012345678901234567890123456789012"
	lookToken = "another-token-which-is-long-enough"
)

func write(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func tokenFile(t *testing.T, content string) string {
	return write(t, filepath.Join(t.TempDir(), "tokens"), content, 0o600)
}

// count returns the number of tokens in use.
func count(t *Tokens) int { return len(*t.current.Load()) }

func openTokens(t *testing.T, o TokenOptions) *Tokens {
	t.Helper()
	tokens, err := OpenTokens(o)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func bothTokens() string {
	return "# comment\r\n\r\n" + lineOf("operator", "ops", opsToken) + "\t" + strings.ReplaceAll(lineOf("viewer", "a.b_c@d-9", lookToken), " ", " \t ")
}

func TestTokens(t *testing.T) {
	tokens := openTokens(t, TokenOptions{File: tokenFile(t, bothTokens()), Free: 100})
	ops := result{User: shell.User{Name: "token ops", Role: shell.Operator}}
	denied := result{Err: "access denied: the token is not valid"}
	hash := strings.Fields(lineOf("", "", opsToken))[0]
	for _, c := range []struct {
		name, token string
		want        result
	}{
		{"operator", opsToken, ops},
		{"surrounded by blanks", " \t" + opsToken + "\r", ops},
		{"viewer", lookToken, result{User: shell.User{Name: "token a.b_c@d-9", Role: shell.Viewer}}},
		{"empty", "", denied},
		{"unknown", strings.Repeat("x", 43), denied},
		{"last character differs", opsToken[:len(opsToken)-1] + "3", denied},
		{"prefix", opsToken[:len(opsToken)-1], denied},
		{"with a suffix", opsToken + "0", denied},
		{"hash", hash, denied},
		{"digits of the hash", strings.TrimPrefix(hash, "sha256:"), denied},
		{"name", "ops", denied},
		{"binary prefix", "\x00\xff" + opsToken, denied},
		{"too long", strings.Repeat(opsToken, 1000), denied},
	} {
		user, err := tokens.Token(t.Context(), connFrom(t, tcpAddr("192.0.2.1")), c.token)
		if diff := cmp.Diff(c.want, resultOf(user, err)); diff != "" || err != nil && !errors.Is(err, ErrDenied) {
			t.Errorf("%s: got error %v; result (-want +got):\n%s", c.name, err, diff)
		}
	}
	if n := count(tokens); n != 2 {
		t.Errorf("got %d tokens, want 2", n)
	}
}

// Tokens that are too short or too long are refused even if the file has their hash.
func TestTokenLength(t *testing.T) {
	short, shortest := strings.Repeat("s", minToken-1), strings.Repeat("l", minToken)
	longest, long := strings.Repeat("m", maxToken), strings.Repeat("m", maxToken+1)
	tokens := openTokens(t, TokenOptions{File: tokenFile(t, lineOf("viewer", "a", short)+lineOf("viewer", "b", shortest)+lineOf("viewer", "c", longest)+lineOf("viewer", "d", long))})
	for token, want := range map[string]bool{short: false, shortest: true, longest: true, long: false} {
		if _, err := tokens.Check(tcpAddr("192.0.2.1"), token); (err == nil) != want {
			t.Errorf("%d bytes: got error %v, want accepted %v", len(token), err, want)
		}
	}
}

func TestTokenAttemptsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := openTokens(t, TokenOptions{File: tokenFile(t, bothTokens()), Free: 2, MaxWait: 3 * time.Second})
		guesser, other := tcpAddr("2001:db8::1"), tcpAddr("2001:db8:1::1")
		check := func(addr net.Addr, token, want string) {
			t.Helper()
			_, err := tokens.Check(addr, token)
			got := ""
			switch {
			case errors.As(err, new(*waitError)):
				got = "wait"
			case errors.Is(err, ErrDenied):
				got = "denied"
			case err != nil:
				got = err.Error()
			}
			if got != want {
				t.Errorf("got result %q, want %q", got, want)
			}
		}
		for range 3 {
			check(guesser, "wrong", "denied")
		}
		check(guesser, "wrong", "wait")
		check(guesser, opsToken, "wait") // otherwise the wait would reveal valid tokens
		check(tcpAddr("2001:db8::ffff"), opsToken, "wait")
		check(other, opsToken, "")
		time.Sleep(300 * time.Millisecond)
		_, err := tokens.Check(guesser, opsToken)
		var wait *waitError
		if !errors.As(err, &wait) || wait.wait != 700*time.Millisecond || err.Error() != "too many failed attempts: try again in 1s" {
			t.Errorf("got error %v, want a wait of 700ms, rounded up to 1s", err)
		}
		time.Sleep(700 * time.Millisecond)
		check(guesser, "wrong", "denied")
		time.Sleep(2*time.Second - 1)
		check(guesser, opsToken, "wait")
		time.Sleep(time.Nanosecond)
		check(guesser, opsToken, "") // resets the count
		check(guesser, "wrong", "denied")
		check(guesser, "wrong", "denied")
		check(guesser, opsToken, "")
		for range 20 {
			if _, err := tokens.Check(guesser, "wrong"); errors.As(err, &wait) {
				time.Sleep(wait.wait)
			}
		}
		_, err = tokens.Check(guesser, opsToken)
		if errors.As(err, &wait) && wait.wait > 3*time.Second {
			t.Errorf("got a wait of %v, want at most 3s", wait.wait)
		}
	})
}

// Unix clients have no address, so one of them must not lock out the others.
func TestTokenAttemptsOfUnixClientsAreNotLimited(t *testing.T) {
	tokens := openTokens(t, TokenOptions{File: tokenFile(t, bothTokens()), Free: -1})
	addr := &net.UnixAddr{Net: "unix", Name: "@"}
	for range 50 {
		if _, err := tokens.Check(addr, "wrong"); !errors.Is(err, ErrDenied) {
			t.Fatalf("got error %v, want %v", err, ErrDenied)
		}
	}
	if _, err := tokens.Check(addr, opsToken); err != nil {
		t.Errorf("valid token: got error %v, want none", err)
	}
}

func TestReload(t *testing.T) {
	path := tokenFile(t, bothTokens())
	tokens := openTokens(t, TokenOptions{File: path})
	expectValid := func(want ...string) {
		t.Helper()
		for _, token := range []string{opsToken, lookToken} {
			_, err := tokens.Check(nil, token)
			if valid := strings.Contains(strings.Join(want, " "), token); valid != (err == nil) {
				t.Errorf("%s: got error %v, want accepted %v", token, err, valid)
			}
		}
	}
	reload := func(changed, fails bool) {
		t.Helper()
		if got, err := tokens.Reload(); got != changed || (err != nil) != fails {
			t.Errorf("Reload: got changed %v and error %v, want %v and error %v", got, err, changed, fails)
		}
	}
	expectValid(opsToken, lookToken)
	reload(false, false)

	write(t, path, lineOf("viewer", "look", lookToken), 0o600)
	expectValid(opsToken, lookToken)
	reload(true, false)
	expectValid(lookToken)

	write(t, path, lineOf("operator", "ops", opsToken)[:60], 0o600) // incomplete
	reload(false, true)
	reload(false, true) // Reload returns the fault each time
	expectValid(lookToken)
	write(t, path, lineOf("operator", "ops", opsToken), 0o644)
	reload(false, true)
	expectValid(lookToken)
	os.Chmod(path, 0o640)
	reload(true, false)
	reload(false, false) // the fault is cleared
	expectValid(opsToken)

	os.Remove(path)
	reload(false, true)
	expectValid(opsToken)
	write(t, path, "", 0o600)
	reload(true, false)
	expectValid()
	if n := count(tokens); n != 0 {
		t.Errorf("empty file: got %d tokens, want 0", n)
	}

	// Kubernetes replaces files by symbolic links.
	os.Remove(path)
	if err := os.Symlink(tokenFile(t, bothTokens()), path); err != nil {
		t.Fatal(err)
	}
	reload(true, false)
	expectValid(opsToken, lookToken)
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := tokenFile(t, bothTokens())
		var notified []string
		notify := func(err error) { notified = append(notified, fmt.Sprint(err)) }
		tokens := openTokens(t, TokenOptions{File: path, Notify: notify})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tokens.Run(ctx) }()

		time.Sleep(10*time.Second + 1)
		write(t, path, "operator\n", 0o600)
		time.Sleep(30 * time.Second)
		write(t, path, lineOf("viewer", "look", lookToken), 0o600)
		time.Sleep(10 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got error %v, want none", err)
		}
		want := []string{
			fmt.Sprintf("tokens %q: invalid token file: line 1: got 1 words, want \"role name hash\"", path),
			"<nil>",
		}
		if diff := cmp.Diff(want, notified); diff != "" || count(tokens) != 1 {
			t.Errorf("got %d tokens, want 1; notifications (-want +got):\n%s", count(tokens), diff)
		}
	})
}

func TestRunWithoutInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := tokenFile(t, bothTokens())
		tokens := openTokens(t, TokenOptions{File: path, Interval: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		write(t, path, "", 0o600)
		if err := tokens.Run(ctx); err != nil || count(tokens) != 2 {
			t.Errorf("Run: got error %v and %d tokens, want none and 2", err, count(tokens))
		}
	})
}

func TestGenerateToken(t *testing.T) {
	seen := map[string]bool{}
	var file strings.Builder
	for i := range 100 {
		role, name := shell.Viewer, fmt.Sprintf("v%d", i)
		if i%2 == 1 {
			role, name = shell.Operator, fmt.Sprintf("o%d", i)
		}
		token, line, err := GenerateToken(role, name)
		if err != nil {
			t.Fatal(err)
		}
		if seen[token] || len(token) != 49 || !strings.HasPrefix(token, "ranch_") || strings.Contains(line, token) || strings.ContainsAny(line, "\r\n") {
			t.Fatalf("got token %q and line %q, want a new token of 49 bytes that is not in its line", token, line)
		}
		seen[token] = true
		file.WriteString(line + "\n")
	}
	tokens := openTokens(t, TokenOptions{File: tokenFile(t, file.String())})
	for token := range seen {
		user, err := tokens.Check(nil, token)
		if wantName := map[shell.Role]string{shell.Viewer: "token v", shell.Operator: "token o"}[user.Role]; err != nil || !strings.HasPrefix(user.Name, wantName) {
			t.Errorf("got %+v and error %v, want a user named %q", user, err, wantName)
		}
	}
	for _, c := range []struct {
		role shell.Role
		name string
	}{{shell.Guest, "a"}, {9, "a"}, {shell.Viewer, ""}, {shell.Viewer, "a b"}, {shell.Viewer, "a\n"}, {shell.Viewer, "ä"}, {shell.Viewer, strings.Repeat("a", 65)}} {
		if token, line, err := GenerateToken(c.role, c.name); err == nil || token != "" || line != "" {
			t.Errorf("%v, %q: got token %q, line %q and error %v, want an error only", c.role, c.name, token, line, err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	var file strings.Builder
	for i := range maxTokens {
		file.WriteString(lineOf("viewer", fmt.Sprint("t", i), fmt.Sprint(i)))
	}
	path := filepath.Join(b.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	tokens, err := OpenTokens(TokenOptions{File: path})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		tokens.find(opsToken)
	}
}
