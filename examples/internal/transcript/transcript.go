// Package transcript runs the sessions that docs/examples.md shows and compares what they print.
package transcript

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// page is docs/examples.md as seen from the directory of an example.
const page = "../../docs/examples.md"

// Need skips the test unless the program and a shell are installed.
func Need(t *testing.T, program, debianPackage string) {
	t.Helper()
	for _, name := range []string{"sh", program} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED: %s is not installed; to run this test: apt-get install %s", name, debianPackage)
		}
	}
}

// Check runs each command of the console blocks in a section of the page, in order, and compares
// its output. In the page, "…" stands for any text, and a line that consists of it for any lines.
// The pairs are a text of the page, such as a port, and what the test uses instead.
func Check(t *testing.T, section string, pairs ...string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	commands := parse(string(text), section)
	if len(commands) == 0 {
		t.Fatalf("%s: got no command in section %q, want some", page, section)
	}
	toTest := strings.NewReplacer(pairs...)
	dir := t.TempDir()
	for _, c := range commands {
		got := run(t, dir, toTest.Replace(c.line))
		if !pattern(toTest.Replace(c.output)).MatchString(got) {
			t.Errorf("%s, section %q: %s\n got:\n%s\nwant:\n%s", page, section, c.line, got, c.output)
		}
	}
}

type command struct{ line, output string }

// parse returns the commands, without "$ ", of the console blocks in a section.
func parse(text, section string) (commands []command) {
	_, text, _ = strings.Cut(text, "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, block := range strings.Split(text, "```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for line := range strings.Lines(block) {
			if after, ok := strings.CutPrefix(line, "$ "); ok {
				commands = append(commands, command{line: strings.TrimSuffix(after, "\n")})
			} else if n := len(commands); n > 0 && strings.HasSuffix(commands[n-1].line, `\`) && commands[n-1].output == "" {
				commands[n-1].line += "\n" + strings.TrimSuffix(line, "\n")
			} else if n > 0 {
				commands[n-1].output += line
			}
		}
	}
	return commands
}

// pattern returns the expression that an output has to match.
func pattern(output string) *regexp.Regexp {
	expr := regexp.QuoteMeta("\n" + output)
	expr = strings.ReplaceAll(expr, "\n…\n", "\n(?:.*\n)*")
	return regexp.MustCompile(`\A` + strings.TrimPrefix(strings.ReplaceAll(expr, "…", ".*"), "\n") + `\z`)
}

// run returns what a command prints. A failure of the command is a part of that.
func run(t *testing.T, dir, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Errorf("%s: got no end within a minute (%v)", line, err)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}
