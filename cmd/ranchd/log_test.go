package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
)

func TestLogFormats(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if wantsColor(file) || wantsColor(new(bytes.Buffer)) {
		t.Error("wantsColor of a file or a buffer: got true, want false")
	}
	for format, want := range map[logFormat]string{
		logAuto:  `level=INFO msg="a message" n=1`,
		logText:  `level=INFO msg="a message" n=1`,
		logJSON:  `"level":"INFO","msg":"a message","n":1}`,
		logColor: "\x1b[92mINF\x1b[0m a message",
	} {
		var b bytes.Buffer
		log := newLogger(&b, format, slog.LevelInfo)
		log.Debug("suppressed")
		log.Info("a message", "n", 1)
		if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "suppressed") || strings.Count(b.String(), "\n") != 1 {
			t.Errorf("%s: got %q, want one line with %q", format, b.String(), want)
		}
	}
}
