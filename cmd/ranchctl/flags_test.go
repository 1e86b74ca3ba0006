package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestFlags(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, x := range []struct {
		args string
		code int
		want string // in stdout or stderr
	}{
		{"--help", 0, "Exit codes:"},
		{"--version", 0, "ranchctl "},
		{"completion bash", 0, "complete -F _ranchctl ranchctl"},
		{"completion zsh", 0, "#compdef ranchctl"},
		{"completion fish", 0, "complete -c ranchctl"},
		{"completion tcsh", 2, "bash, zsh and fish"},
		{"--nonsense status", 2, "unknown flag --nonsense"},
		{"completion", 2, "bash, zsh and fish"},
		{"--timeout infinity --version", 0, "ranchctl "},
		{"--timeout 3 status", 2, "--timeout \"3\": allowed are durations such as 500ms, 5s or 2m, and infinity"},
		{"-c tcp://127.0.0.1:1 status", 3, "give its address with --connect"},
		{"-o yaml status", 2, "--output \"yaml\": allowed are text, json"},
		{"--timeout -1s status", 2, "--timeout"},
		{"-c http://x status", 2, "unknown scheme \"http\""},
		{"-c tls://127.0.0.1:1 --ca " + missing + " status", 2, "--ca: open"},
		{"-c tls://127.0.0.1:1 --cert " + missing + " status", 2, "--cert and --key: allowed are both or neither"},
		{"-c tcp://127.0.0.1:1 --token-file " + missing + " status", 2, "--token-file: open"},
		{"-c unix:" + missing + " status", 3, "no such file"},
		{"-c tls://127.0.0.1:1 --insecure-skip-verify status", 3, "warning: the server's certificate is not verified"},
	} {
		t.Run(x.args, func(t *testing.T) {
			got := runCtl(t, "", nil, strings.Fields(x.args)...)
			if got.Code != x.code || !strings.Contains(got.Out+got.Err, x.want) {
				t.Errorf("got %s, want code %d and %q", got, x.code, x.want)
			}
		})
	}
}
