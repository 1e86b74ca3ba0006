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

// lineOf is a line of a file of tokens.
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

func openTokens(t *testing.T, o TokenOptions) *Tokens {
	t.Helper()
	tokens, err := OpenTokens(o)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func bothTokens() string {
	return "# who may what\r\n\r\n" + lineOf("operator", "ops", opsToken) + "\t" + strings.ReplaceAll(lineOf("viewer", "a.b_c@d-9", lookToken), " ", " \t ")
}

func TestTokens(t *testing.T) {
	tokens := openTokens(t, TokenOptions{File: tokenFile(t, bothTokens()), Free: 100})
	ops := answer{User: shell.User{Name: "token ops", Role: shell.Operator}}
	denied := answer{Err: "access denied: the token is not valid"}
	hash := strings.Fields(lineOf("", "", opsToken))[0]
	for _, c := range []struct {
		name, token string
		want        answer
	}{
		{"an operator's", opsToken, ops},
		{"with blanks around it", " \t" + opsToken + "\r", ops},
		{"a viewer's", lookToken, answer{User: shell.User{Name: "token a.b_c@d-9", Role: shell.Viewer}}},
		{"none", "", denied},
		{"unknown", strings.Repeat("x", 43), denied},
		{"almost", opsToken[:len(opsToken)-1] + "3", denied},
		{"the beginning", opsToken[:len(opsToken)-1], denied},
		{"more", opsToken + "0", denied},
		{"the hash", hash, denied},
		{"the hash's digits", strings.TrimPrefix(hash, "sha256:"), denied},
		{"the name", "ops", denied},
		{"bytes", "\x00\xff" + opsToken, denied},
		{"too long", strings.Repeat(opsToken, 1000), denied},
	} {
		user, err := tokens.Token(t.Context(), from(t, ip("192.0.2.1")), c.token)
		if diff := cmp.Diff(c.want, answerOf(user, err)); diff != "" || err != nil && !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
	}
	if tokens.Len() != 2 {
		t.Errorf("%d tokens, want 2", tokens.Len())
	}
}

// A hash in the file does not make a token of what could be guessed.
func TestShortTokens(t *testing.T) {
	short, long := strings.Repeat("s", MinToken-1), strings.Repeat("l", MinToken)
	most, more := strings.Repeat("m", maxToken), strings.Repeat("m", maxToken+1)
	tokens := openTokens(t, TokenOptions{File: tokenFile(t, lineOf("viewer", "a", short)+lineOf("viewer", "b", long)+lineOf("viewer", "c", most)+lineOf("viewer", "d", more))})
	for token, want := range map[string]bool{short: false, long: true, most: true, more: false} {
		if _, err := tokens.Check(ip("192.0.2.1"), token); (err == nil) != want {
			t.Errorf("%d bytes: %v", len(token), err)
		}
	}
}

func TestTokensBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := openTokens(t, TokenOptions{File: tokenFile(t, bothTokens()), Free: 2, MaxWait: 3 * time.Second})
		guesser, other := ip("2001:db8::1"), ip("2001:db8:1::1")
		check := func(addr net.Addr, token string, want error) {
			t.Helper()
			if _, err := tokens.Check(addr, token); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		for range 3 {
			check(guesser, "wrong", ErrDenied)
		}
		check(guesser, "wrong", ErrTooManyAttempts)
		check(guesser, opsToken, ErrTooManyAttempts) // or the wait would tell which is good
		check(ip("2001:db8::ffff"), opsToken, ErrTooManyAttempts)
		check(other, opsToken, nil)
		time.Sleep(300 * time.Millisecond)
		_, err := tokens.Check(guesser, opsToken)
		var wait *WaitError
		if !errors.As(err, &wait) || wait.Wait != 700*time.Millisecond || err.Error() != "too many failed attempts: try again in 1s" {
			t.Errorf("%v", err)
		}
		time.Sleep(700 * time.Millisecond)
		check(guesser, "wrong", ErrDenied)
		time.Sleep(2*time.Second - 1)
		check(guesser, opsToken, ErrTooManyAttempts)
		time.Sleep(time.Nanosecond)
		check(guesser, opsToken, nil) // forgives
		check(guesser, "wrong", ErrDenied)
		check(guesser, "wrong", ErrDenied)
		check(guesser, opsToken, nil)
		for range 20 {
			if _, err := tokens.Check(guesser, "wrong"); errors.Is(err, ErrTooManyAttempts) {
				time.Sleep(err.(*WaitError).Wait)
			}
		}
		_, err = tokens.Check(guesser, opsToken)
		if errors.As(err, &wait) && wait.Wait > 3*time.Second {
			t.Errorf("waits %v, longer than the longest", wait.Wait)
		}
	})
}

// Unix clients are not told apart by address: nobody locks the others out.
func TestTokensOverUnixNeverWait(t *testing.T) {
	tokens := openTokens(t, TokenOptions{File: tokenFile(t, bothTokens()), Free: -1})
	addr := &net.UnixAddr{Net: "unix", Name: "@"}
	for range 50 {
		if _, err := tokens.Check(addr, "wrong"); !errors.Is(err, ErrDenied) {
			t.Fatal(err)
		}
	}
	if _, err := tokens.Check(addr, opsToken); err != nil {
		t.Error(err)
	}
}

func TestReload(t *testing.T) {
	path := tokenFile(t, bothTokens())
	tokens := openTokens(t, TokenOptions{File: path})
	good := func(want ...string) {
		t.Helper()
		for _, token := range []string{opsToken, lookToken} {
			_, err := tokens.Check(nil, token)
			if is := strings.Contains(strings.Join(want, " "), token); is != (err == nil) {
				t.Errorf("%s: %v, want it good: %v", token, err, is)
			}
		}
	}
	reload := func(changed, fails bool) {
		t.Helper()
		if got, err := tokens.Reload(); got != changed || (err != nil) != fails {
			t.Errorf("Reload: %v, %v; want %v, a fault %v", got, err, changed, fails)
		}
	}
	good(opsToken, lookToken)
	reload(false, false)

	write(t, path, lineOf("viewer", "look", lookToken), 0o600)
	good(opsToken, lookToken)
	reload(true, false)
	good(lookToken)

	write(t, path, lineOf("operator", "ops", opsToken)[:60], 0o600) // half written
	reload(false, true)
	reload(false, true) // told again who asks
	good(lookToken)
	write(t, path, lineOf("operator", "ops", opsToken), 0o644)
	reload(false, true)
	good(lookToken)
	os.Chmod(path, 0o640)
	reload(true, false)
	reload(false, false) // the fault is forgotten
	good(opsToken)

	os.Remove(path)
	reload(false, true)
	good(opsToken)
	write(t, path, "", 0o600)
	reload(true, false)
	good()
	if tokens.Len() != 0 {
		t.Errorf("%d tokens in an empty file", tokens.Len())
	}

	// As Kubernetes replaces it.
	os.Remove(path)
	if err := os.Symlink(tokenFile(t, bothTokens()), path); err != nil {
		t.Fatal(err)
	}
	reload(true, false)
	good(opsToken, lookToken)
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := tokenFile(t, bothTokens())
		var told []string
		notify := func(err error) { told = append(told, fmt.Sprint(err)) }
		tokens := openTokens(t, TokenOptions{File: path, Notify: notify})
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- tokens.Run(ctx) }()

		time.Sleep(DefaultInterval + 1)
		write(t, path, "operator\n", 0o600)
		time.Sleep(3 * DefaultInterval)
		write(t, path, lineOf("viewer", "look", lookToken), 0o600)
		time.Sleep(DefaultInterval)
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		want := []string{
			fmt.Sprintf("tokens %q: not a file of tokens: line 1: it has 1 words; use \"role name hash\"", path),
			"<nil>",
		}
		if diff := cmp.Diff(want, told); diff != "" || tokens.Len() != 1 {
			t.Errorf("%d tokens\n%s", tokens.Len(), diff)
		}
	})
}

func TestRunThatNeverLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := tokenFile(t, bothTokens())
		tokens := openTokens(t, TokenOptions{File: path, Interval: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		write(t, path, "", 0o600)
		if err := tokens.Run(ctx); err != nil || tokens.Len() != 2 {
			t.Errorf("%v, %d tokens", err, tokens.Len())
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
			t.Fatalf("token %q, line %q", token, line)
		}
		seen[token] = true
		file.WriteString(line + "\n")
	}
	tokens := openTokens(t, TokenOptions{File: tokenFile(t, file.String())})
	for token := range seen {
		user, err := tokens.Check(nil, token)
		if wantName := map[shell.Role]string{shell.Viewer: "token v", shell.Operator: "token o"}[user.Role]; err != nil || !strings.HasPrefix(user.Name, wantName) {
			t.Errorf("%+v, %v", user, err)
		}
	}
	for _, c := range []struct {
		role shell.Role
		name string
	}{{shell.Guest, "a"}, {9, "a"}, {shell.Viewer, ""}, {shell.Viewer, "a b"}, {shell.Viewer, "a\n"}, {shell.Viewer, "ä"}, {shell.Viewer, strings.Repeat("a", 65)}} {
		if token, line, err := GenerateToken(c.role, c.name); !errors.Is(err, ErrBadOption) || token != "" || line != "" {
			t.Errorf("%v, %q: %q, %q, %v", c.role, c.name, token, line, err)
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
