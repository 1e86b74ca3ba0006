package admin_test

import (
	"flag"
	"fmt"
	"io"
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

	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/ranch/admin"
)

var update = flag.Bool("update", false, "write the answers into docs/admin.md; for the test of that alone")

const page = "../../docs/admin.md"

// What the page shows is what the commands answer, but for numbers.
func TestThePageShowsWhatIsAnswered(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the page is about Linux")
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before := string(b)
	var after string
	synctest.Test(t, func(t *testing.T) { after = answered(t, before) })
	if *update {
		if err := os.WriteFile(page, []byte(after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(numberless(before), numberless(after)); diff != "" && !*update {
		t.Errorf("the page is stale (-page +commands): run go test ./ranch/admin -run ThePage -update\n%s", diff)
	}
}

// answered returns the page with the answers to its requests.
func answered(t *testing.T, text string) string {
	h := open(t, admin.Options{Version: "v1.2.3", Config: func() any { return map[string]any{"listen": []string{"echo", "chat"}} },
		Sessions: []admin.SessionSource{{Name: "shell", Sessions: sessions{}}}})
	h.start("chat", echo.Protocol{})
	busy := h.dial("echo")
	exchange(t, busy, strings.Repeat("x", 1500))
	first := h.listener("echo").Connections()[0].ID
	exchange(t, h.dial("echo"), "hello")
	exchange(t, h.dial("echo"), "hello again")
	h.dial("chat")
	exchange(t, h.dial("echo"), "hello")
	h.dial("echo").Close()
	h.listener("echo").ChangeOptions(func(o *ranch.Options) { o.Alarms = map[string]ranch.Alarm{"many": {Connections: 900}} })
	time.Sleep(90 * time.Second)
	runtime.GC() // there is a last collection
	c := h.client()
	c.text("set columns 120")
	var out []string
	fenced, asked := false, false
	for line := range strings.SplitSeq(text, "\n") {
		request, asks := strings.CutPrefix(line, "> ")
		switch {
		case strings.HasPrefix(line, "```"):
			fenced, asked = !fenced, false
		case fenced && asks:
			asked = true
			synctest.Wait() // what was killed is closed
			out = append(out, line)
			c.SetReadDeadline(time.Now().Add(time.Hour))
			if answer := strings.TrimRight(h.perform(c, request, first, func() {
				busy.SetReadDeadline(time.Time{})
				exchange(t, busy, "password: 12345\r\n")
			}), "\n"); answer != "" {
				out = append(out, strings.Split(answer, "\n")...)
			}
			continue
		case fenced && asked:
			continue // an old answer
		}
		out = append(out, line)
	}
	for i := range out {
		out[i] = strings.TrimRight(out[i], " ")
	}
	return strings.Join(out, "\n")
}

// perform asks with ids counted from the first. What streams gets something to show.
func (h *house) perform(c *client, request string, first uint64, traffic func()) string {
	words := strings.Fields(request)
	if len(words) == 2 && slices.Contains([]string{"connection", "kill", "trace"}, words[0]) {
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
		io.WriteString(c, "\x03")
	}
	synctest.Wait()
	return c.text("")
}

var (
	instants = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	sizes    = regexp.MustCompile(`[\d.]+ ([KMGTPE]i)?B\b`)
	lengths  = regexp.MustCompile(`\b(\d+(\.\d+)?(ns|µs|ms|h|m|s))+\b`)
	anything = regexp.MustCompile(`\d+(\.\d+)*`)
	blanks   = regexp.MustCompile(` +`)
	profile  = regexp.MustCompile(`(?s)(> goroutines --profile[^\n]*\n[^\n]*\n).*?(> )`)
)

// numberless is the page without what differs from run to run.
func numberless(s string) string {
	s = profile.ReplaceAllString(s, "$1$2")
	s = strings.ReplaceAll(s, runtime.GOOS+"/"+runtime.GOARCH, "linux/amd64")
	for _, r := range []*regexp.Regexp{instants, sizes, lengths, anything} {
		s = r.ReplaceAllString(s, "N")
	}
	return strings.ReplaceAll(blanks.ReplaceAllString(s, " "), "\n ", "\n") // also at the beginning, where a number may fill its column
}
