package docs

import (
	"strings"
	"testing"
)

// What these sections show are parts of examples that run.
func TestGuideShowsTheExamples(t *testing.T) {
	guide := read(t, "guide.md")
	for section, example := range map[string]string{
		"Limits that listeners share":           "../ranch/example_limits_test.go",
		"Clients by address":                    "../ranch/example_limits_test.go",
		"net/http, gRPC and SSH behind the cap": "../protocol/netlisten/example_test.go",
		"WebSockets":                            "../protocol/wslisten/example_test.go",
		"Several protocols on one port":         "../protocol/sniff/example_test.go",
		"Handlers":                              "../protocol/example_handler_test.go",
		"Frames":                                "../protocol/example_handler_test.go",
		"Outbound queue":                        "../protocol/example_handler_test.go",
		"Broadcast":                             "../protocol/example_handler_test.go",
		"Test a handler":                        "../protocol/protocoltest/example_test.go",
	} {
		_, text, ok := strings.Cut(guide, "## "+section+"\n")
		if !ok {
			t.Fatalf("no section %q", section)
		}
		text, _, _ = strings.Cut(text, "\n## ")
		code := unindented(read(t, example))
		shown := 0
		for {
			_, rest, ok := strings.Cut(text, "```go\n")
			if !ok {
				break
			}
			var block string
			block, text, _ = strings.Cut(rest, "```")
			if shown++; !strings.Contains(code, unindented(block)) {
				t.Errorf("%s: not in %s:\n%s", section, example, block)
			}
		}
		if shown == 0 {
			t.Errorf("%s shows no code", section)
		}
	}
}

func unindented(code string) string {
	lines := strings.Split(code, "\n")
	for i := range lines {
		lines[i] = strings.TrimLeft(lines[i], "\t")
	}
	return strings.Join(lines, "\n")
}
