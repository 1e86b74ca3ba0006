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

// Errors name each invalid line by its number and contain nothing of it, which may be a token.
func TestTokenFileFaults(t *testing.T) {
	const secret = "ranch_S3CR3TS3CR3TS3CR3TS3CR3TS3CR3TS3CR3TS3CR3T"
	good := strings.TrimSpace(lineOf("viewer", "look", lookToken))
	hash := strings.Fields(good)[2]
	for _, c := range []struct {
		name, content string
		want          []string
	}{
		{"a token alone", secret, []string{"line 1: the first word must be the role, \"viewer\" or \"operator\""}},
		{"the token first", secret + " viewer look " + hash, []string{"line 1: the first word must be the role, \"viewer\" or \"operator\""}},
		{"a guest", "guest look " + hash, []string{"line 1: the first word must be the role, \"viewer\" or \"operator\""}},
		{"capitals", "Viewer look " + hash, []string{"line 1: the first word must be the role, \"viewer\" or \"operator\""}},
		{"no hash", "# a file\n\nviewer look\n", []string{"line 3: got 2 words, want \"role name hash\""}},
		{"a word too many", good + " " + secret, []string{"line 1: got 4 words, want \"role name hash\""}},
		{"a comment after it", good + " # mine", []string{"line 1: got 5 words, want \"role name hash\""}},
		{"the token as name", "viewer " + secret + "=! " + hash, []string{"line 1: the second word must be a name: " + nameRule}},
		{"a long name", "viewer " + strings.Repeat(secret, 2) + " " + hash, []string{"line 1: the second word must be a name: " + nameRule}},
		{"the token as hash", "viewer look " + secret, []string{"line 1: the third word must be a hash, \"sha256:\" and 64 hexadecimal digits, not the token itself"}},
		{"the token hashed as such", "viewer look sha256:" + secret, []string{fmt.Sprintf("line 1: got %d digits after \"sha256:\", want 64 hexadecimal digits", len(secret))}},
		{"a hash cut off", good[:len(good)-1], []string{"line 1: got 63 digits after \"sha256:\", want 64 hexadecimal digits"}},
		{"other digits", good[:len(good)-1] + "x", []string{"line 1: the characters after \"sha256:\" must be hexadecimal digits"}},
		{"a password's hash", "viewer look $argon2id$v=19$m=65536,t=3,p=4$" + secret, []string{"line 1: password hashes are not supported; use \"sha256:\" and 64 hexadecimal digits"}},
		{"bytes", "viewer \x00\xff " + secret + "\x00", []string{"line 1: the second word must be a name: " + nameRule}},
		{"a name twice", good + "\n\n" + strings.TrimSpace(lineOf("operator", "look", opsToken)), []string{"line 3: the name is already used in line 1"}},
		{"a token twice", good + "\n" + strings.Replace(good, "viewer look", "operator ops", 1), []string{"line 2: the hash is already used in line 1"}},
		{"several", secret + "\n" + good + "\nviewer\n", []string{
			"line 1: the first word must be the role, \"viewer\" or \"operator\"", "line 3: got 1 words, want \"role name hash\""}},
	} {
		_, err := OpenTokens(TokenOptions{File: tokenFile(t, c.content)})
		if !errors.Is(err, errTokenFile) {
			t.Errorf("%s: got error %v, want %v", c.name, err, errTokenFile)
			continue
		}
		_, text, _ := strings.Cut(err.Error(), "invalid token file: ")
		if diff := cmp.Diff(c.want, strings.Split(text, "\n")); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", c.name, diff)
		}
		if strings.Contains(err.Error(), "S3CR3T") {
			t.Errorf("%s: got the secret in the error %v, want nothing of the line", c.name, err)
		}
	}
}

func TestLargeTokenFiles(t *testing.T) {
	lines := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(lineOf("viewer", fmt.Sprint("t", i), fmt.Sprint("token with the number ", i)))
		}
		return b.String()
	}
	tokens := openTokens(t, TokenOptions{File: tokenFile(t, lines(maxTokens))})
	if _, err := tokens.Check(nil, "token with the number 999"); count(tokens) != maxTokens || err != nil {
		t.Errorf("got %d tokens and error %v for the last, want %d and none", count(tokens), err, maxTokens)
	}
	for _, c := range []struct{ content, want string }{
		{lines(maxTokens + 5), "line 1001: allowed are at most 1000 tokens"},
		{strings.Repeat("#", maxTokenFile+1), "larger than 1048576 bytes"},
		{strings.Repeat("x\n", 500), "line 20: the first word must be the role, \"viewer\" or \"operator\"\nand 480 more lines"},
	} {
		_, err := OpenTokens(TokenOptions{File: tokenFile(t, c.content)})
		if !errors.Is(err, errTokenFile) || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("got error %v, want %q", err, c.want)
		}
	}
}

func TestTokenFileAccess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no file modes")
	}
	for _, c := range []struct {
		mode os.FileMode
		want string // "": good
	}{
		{0o600, ""}, {0o400, ""}, {0o640, ""}, {0o440, ""}, {0o700, ""},
		{0o644, "mode 0644: others can read it; use chmod 600"},
		{0o604, "mode 0604: others can read it; use chmod 600"},
		{0o666, "mode 0666: others can read it; use chmod 600"},
		{0o660, "mode 0660: its group or others can write it; use chmod 600"},
		{0o620, "mode 0620: its group or others can write it; use chmod 600"},
		{0o602, "mode 0602: its group or others can write it; use chmod 600"},
	} {
		path := write(t, filepath.Join(t.TempDir(), "tokens"), bothTokens(), c.mode)
		_, err := OpenTokens(TokenOptions{File: path})
		if c.want == "" && err != nil {
			t.Errorf("%04o: got error %v, want none", c.mode, err)
		}
		if want := fmt.Sprintf("tokens %q: invalid token file: %s", path, c.want); c.want != "" && (!errors.Is(err, errTokenFile) || err.Error() != want) {
			t.Errorf("%04o: got error %v, want %s", c.mode, err, want)
		}
	}
}

func TestTokenFileOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("changing the owner requires root")
	}
	path := tokenFile(t, bothTokens())
	if err := os.Chown(path, 54321, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTokens(TokenOptions{File: path}); err == nil || !strings.HasSuffix(err.Error(), "owner 54321: allowed are root and the user of this process; use chown root or chown 0") {
		t.Errorf("got error %v, want one about the owner", err)
	}
}

func TestUnreadableTokenFiles(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		path, want string
		is         error
	}{
		{"", `option File "": allowed are paths of token files`, nil},
		{dir, fmt.Sprintf("tokens %q: not a regular file", dir), nil},
		{filepath.Join(dir, "none"), fmt.Sprintf("tokens %q: no such file or directory", filepath.Join(dir, "none")), fs.ErrNotExist},
	} {
		tokens, err := OpenTokens(TokenOptions{File: c.path})
		if tokens != nil || err == nil || err.Error() != c.want || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%q: got error %v, want %s", c.path, err, c.want)
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
			if list != nil || !errors.Is(err, errTokenFile) {
				t.Errorf("got %d tokens and error %v, want none and %v", len(list), err, errTokenFile)
			}
			for word := range strings.FieldsSeq(string(b)) {
				if len(word) >= minToken && strings.Contains(err.Error(), word) {
					t.Errorf("got a word of the file in the error %v, want none", err)
				}
			}
			return
		}
		// Writing the entries and parsing them again yields the same entries.
		var out strings.Builder
		for _, e := range list {
			fmt.Fprintf(&out, "%s %s sha256:%x\n", roleWords[e.role], e.name, e.hash)
			if e.role != shell.Viewer && e.role != shell.Operator || !validName(e.name) || e.line < 1 {
				t.Errorf("got invalid entry %+v", e)
			}
		}
		again, err := parseTokens([]byte(out.String()))
		if err != nil || len(again) != len(list) {
			t.Fatalf("got %d entries and error %v, want %d and none", len(again), err, len(list))
		}
		for i := range list {
			if list[i].line = i + 1; list[i] != again[i] {
				t.Errorf("got %+v, want %+v", again[i], list[i])
			}
		}
	})
}
