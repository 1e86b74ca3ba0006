package admin_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/ranch/admin"
)

var update = flag.Bool("update", false, "write the answers into docs/admin.md; only with -run ThePage")

const page = "../../docs/admin.md"

// The page shows the answers of the commands, apart from numbers.
func TestThePage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the page shows answers on Linux; run on Linux: go test ./ranch/admin -run ThePage")
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before := string(b)
	var after string
	synctest.Test(t, func(t *testing.T) { after = withAnswers(t, before) })
	if *update {
		if err := os.WriteFile(page, []byte(after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(withoutNumbers(before), withoutNumbers(after)); diff != "" && !*update {
		t.Errorf("%s differs from the answers; run go test ./ranch/admin -run ThePage -update (-page +answers):\n%s", page, diff)
	}
}

// withAnswers returns the page with the current answers to its requests.
func withAnswers(t *testing.T, text string) string {
	s := newTestServer(t, admin.Options{Version: "v1.2.3", Config: func() any { return map[string]any{"listen": []string{"echo", "chat"}} },
		Sessions: []admin.Sessions{testSessions}})
	s.start("chat", echo.Protocol{})
	busy := s.dial("echo")
	roundTrip(t, busy, strings.Repeat("x", 1500))
	first := s.connections("echo")[0].ID
	roundTrip(t, s.dial("echo"), "hello")
	roundTrip(t, s.dial("echo"), "hello again")
	s.dial("chat")
	roundTrip(t, s.dial("echo"), "hello")
	s.dial("echo").Close()
	s.listener("echo").ChangeOptions(func(o *ranch.Options) {
		o.Alarms = map[string]ranch.Alarm{"many": {Connections: 900}}
		o.Networks = new(conns.Networks)
	})
	time.Sleep(90 * time.Second)
	runtime.GC() // so that memory shows a last GC
	c := s.client()
	c.text("set columns 120")
	var out []string
	inBlock, afterRequest := false, false
	for line := range strings.SplitSeq(text, "\n") {
		request, isRequest := strings.CutPrefix(line, "> ")
		switch {
		case strings.HasPrefix(line, "```"):
			inBlock, afterRequest = !inBlock, false
		case inBlock && isRequest:
			afterRequest = true
			synctest.Wait() // killed connections have ended
			out = append(out, line)
			c.SetReadDeadline(time.Now().Add(time.Hour))
			answer := strings.TrimRight(c.pageAnswer(request, first, func() {
				busy.SetReadDeadline(time.Time{})
				roundTrip(t, busy, "password: 12345\r\n")
			}), "\n")
			if answer != "" {
				out = append(out, strings.Split(answer, "\n")...)
			}
			continue
		case inBlock && afterRequest:
			continue // the old answer
		}
		out = append(out, line)
	}
	for i := range out {
		out[i] = strings.TrimRight(out[i], " ")
	}
	return strings.Join(out, "\n")
}

// pageAnswer sends a request of the page, whose connection ids count from 1 instead of first.
// During top and trace it calls traffic.
func (c *client) pageAnswer(request string, first uint64, traffic func()) string {
	words := strings.Fields(request)
	if len(words) == 2 && slices.Contains([]string{"connection", "kill", "end", "trace"}, words[0]) {
		if id, err := strconv.ParseUint(words[1], 10, 64); err == nil {
			request = fmt.Sprintf("%s %d", words[0], first+id-1)
		}
	}
	if words[0] != "trace" && words[0] != "top" {
		return c.text(request)
	}
	c.send(request)
	synctest.Wait()
	traffic()
	synctest.Wait()
	if words[0] == "trace" {
		c.cancel()
	}
	synctest.Wait()
	return c.text("")
}

var (
	timestamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	sizes      = regexp.MustCompile(`[\d.]+ ([KMGTPE]i)?B\b`)
	durations  = regexp.MustCompile(`\b(\d+(\.\d+)?(ns|µs|ms|h|m|s))+\b`)
	numbers    = regexp.MustCompile(`\d+(\.\d+)*`)
	spaces     = regexp.MustCompile(` +`)
	profile    = regexp.MustCompile(`(?s)(> goroutines --profile[^\n]*\n[^\n]*\n).*?(> )`)
)

// withoutNumbers replaces values that differ between runs.
func withoutNumbers(s string) string {
	s = profile.ReplaceAllString(s, "$1$2")
	s = strings.ReplaceAll(s, runtime.GOOS+"/"+runtime.GOARCH, "linux/amd64")
	for _, r := range []*regexp.Regexp{timestamps, sizes, durations, numbers} {
		s = r.ReplaceAllString(s, "N")
	}
	return strings.ReplaceAll(spaces.ReplaceAllString(s, " "), "\n ", "\n") // a number can fill its column at the start of a line
}
