package main

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"goranch/protocol/shell/access"
)

// TestNewToken checks that the shell accepts the tokens of a file that ranchctl has written.
func TestNewToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	var secrets []string
	for _, args := range [][]string{{"operator", "ann", "--file", file}, {"--file", file, "viewer", "bob"}} {
		var out, errs bytes.Buffer
		if code := token(args, &out, &errs); code != exitOK {
			t.Fatalf("%v: got code %d, want 0: %s", args, code, &errs)
		}
		secrets = append(secrets, strings.TrimSpace(out.String()))
	}
	tokens, err := access.OpenTokens(access.TokenOptions{File: file})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"operator", "viewer"} {
		u, err := tokens.Check(&net.UnixAddr{}, secrets[i])
		if err != nil || u.Role.String() != want {
			t.Errorf("got %+v, %v, want the role %s", u, err, want)
		}
	}
	var out, errs bytes.Buffer
	if code := token([]string{"viewer", "eve"}, &out, &errs); code != exitOK || !strings.Contains(out.String(), "viewer eve sha256:") {
		t.Errorf("got code %d, %s%s, want 0 and the line of the token file", code, &out, &errs)
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{nil, exitUsage}, {[]string{"king", "ann"}, exitUsage}, {[]string{"viewer", "a b"}, exitUsage},
		{[]string{"viewer", "ann", "--file", "/no/such/dir/x"}, exitFailed}, {[]string{"--help"}, exitOK},
	} {
		if code := token(c.args, &out, &errs); code != c.code {
			t.Errorf("%v: got code %d, want %d: %s", c.args, code, c.code, &errs)
		}
	}
}
