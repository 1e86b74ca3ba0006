package main

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"goranch/protocol/shell/access"
)

// A token that was made is known to who reads the file.
func TestNewToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	var secrets []string
	for _, args := range [][]string{{"operator", "ann", "--file", file}, {"--file", file, "viewer", "bob"}} {
		var out, errs bytes.Buffer
		if code := token(args, &out, &errs); code != exitInOrder {
			t.Fatalf("%v: exit code %d: %s", args, code, &errs)
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
			t.Errorf("%+v, %v: want a %s", u, err, want)
		}
	}
	var out, errs bytes.Buffer
	if code := token([]string{"viewer", "eve"}, &out, &errs); code != exitInOrder || !strings.Contains(out.String(), "viewer eve sha256:") {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{nil, exitUsage}, {[]string{"king", "ann"}, exitUsage}, {[]string{"viewer", "a b"}, exitUsage},
		{[]string{"viewer", "ann", "--file", "/no/such/dir/x"}, exitFailed}, {[]string{"--help"}, exitInOrder},
	} {
		if code := token(c.args, &out, &errs); code != c.code {
			t.Errorf("%v: exit code %d, want %d: %s", c.args, code, c.code, &errs)
		}
	}
}
