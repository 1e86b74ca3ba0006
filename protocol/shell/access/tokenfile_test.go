package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
)

// Each fault is named with its line, and no line is shown: each has the token somewhere.
func TestBadTokenFiles(t *testing.T) {
	const secret = "ranch_S3CR3TS3CR3TS3CR3TS3CR3TS3CR3TS3CR3TS3CR3T"
	good := strings.TrimSpace(lineOf("viewer", "look", lookToken))
	hash := strings.Fields(good)[2]
	for _, c := range []struct {
		name, content string
		want          []string
	}{
		{"a token alone", secret, []string{"line 1: the first word is no role; use \"viewer\" or \"operator\""}},
		{"the token first", secret + " viewer look " + hash, []string{"line 1: the first word is no role; use \"viewer\" or \"operator\""}},
		{"a guest", "guest look " + hash, []string{"line 1: the first word is no role; use \"viewer\" or \"operator\""}},
		{"capitals", "Viewer look " + hash, []string{"line 1: the first word is no role; use \"viewer\" or \"operator\""}},
		{"no hash", "# a file\n\nviewer look\n", []string{"line 3: it has 2 words; use \"role name hash\""}},
		{"a word too many", good + " " + secret, []string{"line 1: it has 4 words; use \"role name hash\""}},
		{"a comment after it", good + " # mine", []string{"line 1: it has 5 words; use \"role name hash\""}},
		{"the token as name", "viewer " + secret + "=! " + hash, []string{"line 1: the second word is no name; " + nameRule}},
		{"a long name", "viewer " + strings.Repeat(secret, 2) + " " + hash, []string{"line 1: the second word is no name; " + nameRule}},
		{"the token as hash", "viewer look " + secret, []string{"line 1: the third word is no hash; use \"sha256:\" and 64 hexadecimal digits, never the token itself"}},
		{"the token hashed as such", "viewer look sha256:" + secret, []string{fmt.Sprintf("line 1: %d digits follow \"sha256:\"; there must be 64 hexadecimal ones", len(secret))}},
		{"a hash cut off", good[:len(good)-1], []string{"line 1: 63 digits follow \"sha256:\"; there must be 64 hexadecimal ones"}},
		{"other digits", good[:len(good)-1] + "x", []string{"line 1: there is something else than hexadecimal digits after \"sha256:\""}},
		{"a password's hash", "viewer look $argon2id$v=19$m=65536,t=3,p=4$" + secret, []string{"line 1: the hash is one for passwords; tokens are random, and hashed by SHA-256: use \"sha256:\" and 64 hexadecimal digits"}},
		{"bytes", "viewer \x00\xff " + secret + "\x00", []string{"line 1: the second word is no name; " + nameRule}},
		{"a name twice", good + "\n\n" + strings.TrimSpace(lineOf("operator", "look", opsToken)), []string{"line 3: its name is that of line 1"}},
		{"a token twice", good + "\n" + strings.Replace(good, "viewer look", "operator ops", 1), []string{"line 2: its hash is that of line 1"}},
		{"several", secret + "\n" + good + "\nviewer\n", []string{
			"line 1: the first word is no role; use \"viewer\" or \"operator\"", "line 3: it has 1 words; use \"role name hash\""}},
	} {
		_, err := OpenTokens(TokenOptions{File: tokenFile(t, c.content)})
		if !errors.Is(err, ErrBadTokenFile) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_, text, _ := strings.Cut(err.Error(), "not a file of tokens: ")
		if diff := cmp.Diff(c.want, strings.Split(text, "\n")); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
		if strings.Contains(err.Error(), "S3CR3T") {
			t.Errorf("%s: the error shows the secret: %v", c.name, err)
		}
	}
}

func TestLargeTokenFiles(t *testing.T) {
	lines := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(lineOf("viewer", fmt.Sprint("t", i), fmt.Sprint("token of the number ", i)))
		}
		return b.String()
	}
	tokens := openTokens(t, TokenOptions{File: tokenFile(t, lines(maxTokens))})
	if _, err := tokens.Check(nil, "token of the number 999"); tokens.Len() != maxTokens || err != nil {
		t.Errorf("%d tokens, the last: %v", tokens.Len(), err)
	}
	for _, c := range []struct{ content, want string }{
		{lines(maxTokens + 5), "line 1001: there are more than 1000 tokens"},
		{strings.Repeat("#", maxTokenFile+1), "larger than 1048576 bytes"},
		{strings.Repeat("x\n", 500), "line 20: the first word is no role; use \"viewer\" or \"operator\"\nand 480 more lines"},
	} {
		_, err := OpenTokens(TokenOptions{File: tokenFile(t, c.content)})
		if !errors.Is(err, ErrBadTokenFile) || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestTokenFileAccess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no modes")
	}
	for _, c := range []struct {
		mode os.FileMode
		want string // "": good
	}{
		{0o600, ""}, {0o400, ""}, {0o640, ""}, {0o440, ""}, {0o700, ""},
		{0o644, "mode 0644: others can read it; chmod 600 it"},
		{0o604, "mode 0604: others can read it; chmod 600 it"},
		{0o666, "mode 0666: others can read it; chmod 600 it"},
		{0o660, "mode 0660: its group or others can write it; chmod 600 it"},
		{0o620, "mode 0620: its group or others can write it; chmod 600 it"},
		{0o602, "mode 0602: its group or others can write it; chmod 600 it"},
	} {
		path := write(t, filepath.Join(t.TempDir(), "tokens"), bothTokens(), c.mode)
		_, err := OpenTokens(TokenOptions{File: path})
		if c.want == "" && err != nil {
			t.Errorf("%04o: %v", c.mode, err)
		}
		if want := fmt.Sprintf("tokens %q: not a file of tokens: %s", path, c.want); c.want != "" && (!errors.Is(err, ErrBadTokenFile) || err.Error() != want) {
			t.Errorf("%04o: %v, want %s", c.mode, err, want)
		}
	}
}

func TestTokenFileOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := tokenFile(t, bothTokens())
	if err := os.Chown(path, 54321, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTokens(TokenOptions{File: path}); err == nil || !strings.HasSuffix(err.Error(), "it belongs to user 54321, who could write it; chown it to root or to user 0") {
		t.Errorf("%v", err)
	}
}

func TestTokenFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		path, want string
		is         error
	}{
		{"", `bad option File "": a file must be named`, ErrBadOption},
		{dir, fmt.Sprintf("tokens %q: not a regular file", dir), nil},
		{filepath.Join(dir, "none"), fmt.Sprintf("tokens %q: no such file or directory", filepath.Join(dir, "none")), fs.ErrNotExist},
	} {
		tokens, err := OpenTokens(TokenOptions{File: c.path})
		if tokens != nil || err == nil || err.Error() != c.want || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%q: %v, want %s", c.path, err, c.want)
		}
	}
}

func FuzzTokens(f *testing.F) {
	good := lineOf("operator", "ops", opsToken)
	for _, s := range []string{"", good, good + good, bothTokens(), good[:40], "\ufeff" + good, "viewer\x00a b", "#\n\n \t\r\n", "viewer a $2b$12$x",
		strings.ReplaceAll(good, " ", "\u2003"), "operator ops sha256:" + strings.Repeat("zz", 32)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseTokens(b)
		if err != nil {
			if list != nil || !errors.Is(err, ErrBadTokenFile) {
				t.Errorf("%d tokens with %v", len(list), err)
			}
			for word := range strings.FieldsSeq(string(b)) {
				if len(word) >= MinToken && strings.Contains(err.Error(), word) {
					t.Errorf("the error shows a word of the file: %v", err)
				}
			}
			return
		}
		// What was read reads the same when it is written anew.
		var again strings.Builder
		for _, e := range list {
			fmt.Fprintf(&again, "%s %s sha256:%x\n", roleWords[e.role], e.name, e.hash)
			if e.role != shell.Viewer && e.role != shell.Operator || !validName(e.name) || e.line < 1 {
				t.Errorf("an entry that may not be: %+v", e)
			}
		}
		anew, err := parseTokens([]byte(again.String()))
		if err != nil || len(anew) != len(list) {
			t.Fatalf("%v: %d of %d", err, len(anew), len(list))
		}
		for i := range list {
			if list[i].line = i + 1; list[i] != anew[i] {
				t.Errorf("%+v became %+v", list[i], anew[i])
			}
		}
	})
}
