package admin_test

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"goranch/internal/termtext"
	"goranch/protocol"
	"goranch/ranch/admin"
	"goranch/transport"
)

// labelled is a protocol that sets the label user to each value in turn, one per connection,
// answers with a byte, and reads until the end.
func labelled(values []string) protocol.Protocol {
	next := make(chan string, len(values))
	for _, v := range values {
		next <- v
	}
	return protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		if err := conn.SetLabel("user", strings.ToValidUTF8(<-next, "")); err != nil {
			return err
		}
		conn.SetLabel("room", "7")
		conn.Write([]byte("x"))
		_, err := conn.Read(make([]byte, 1))
		return err
	})
}

func TestLabels(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	s.start("labelled", labelled([]string{"ann", "Ann B"}))
	first, second := s.dial("labelled"), s.dial("labelled")
	first.Read(make([]byte, 1))
	second.Read(make([]byte, 1))
	js := s.jsonClient()
	want := map[string]any{"user": "ann", "room": "7"}
	if got := js.json("connections user=ann").rows(t); len(got) != 1 || !cmp.Equal(got[0]["labels"], any(want)) {
		t.Errorf("connections: got %v, want one with the labels %v", got, want)
	}
	if got := js.json(`connections "user=Ann B" label.room=7`).rows(t); len(got) != 1 {
		t.Errorf("connections: got %v, want 1", got)
	}
	text := s.client().text("connections label.room=7")
	for _, want := range []string{"room=7 user=ann\n", "room=7 user=\"Ann B\"\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("connections: got\n%s\nwant %q in it", text, want)
		}
	}
	if got := js.json("kill user=ann --yes").fields(t)["killed"]; got != 1.0 {
		t.Errorf("kill: got %v killed, want 1", got)
	}
	s.waitFor("the end", func() bool { return len(s.listener("labelled").RecentlyClosed()) == 1 })
	if got := js.json("closed user=ann").rows(t); len(got) != 1 || !cmp.Equal(got[0]["labels"], any(want)) {
		t.Errorf("closed: got %v, want one with the labels %v", got, want)
	}
}

// The label of the shell shows its user, also after auth.
func TestLabelsOfTheShell(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	s.client()
	js := s.jsonClient()
	rows := js.json("connections user=alice protocol=shell").rows(t)
	if len(rows) != 2 {
		t.Fatalf("got %v, want 2 connections of alice", rows)
	}
	client, _ := rows[1]["labels"].(map[string]any)["client"].(string)
	if len(client) != 8 || len(js.json("connections client="+client).rows(t)) != 1 {
		t.Errorf("got client %q, want 8 digits of one connection", client)
	}
	js.json("auth viewer")
	if rows := js.json("connections user=viewer").rows(t); len(rows) != 1 {
		t.Errorf("after auth: got %v, want one connection of viewer", rows)
	}
}

// Labels that could control a terminal reach no output as they are, and JSON returns them
// unchanged.
func TestNastyLabels(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	values := slices.Clone(termtext.Nasty)
	s.start("labelled", labelled(values))
	for range values {
		s.dial("labelled").Read(make([]byte, 1))
	}
	id := s.connections("labelled")[0].ID
	for _, format := range []string{"text", "json"} {
		c := s.client()
		c.send("format " + format)
		requests := []string{"connections", fmt.Sprint("connection ", id), "top --count 1 --interval 100ms", "closed"}
		if format == "json" {
			requests = append([]string{"kill listener=labelled --yes"}, requests[0], requests[3])
		}
		var output strings.Builder
		for _, r := range append(requests, "quit") {
			c.send(r)
		}
		for lines := bufio.NewScanner(c.r); lines.Scan(); {
			output.WriteString(lines.Text() + "\n")
		}
		for _, bad := range termtext.Forbidden {
			if i := strings.Index(output.String(), bad); i >= 0 {
				t.Errorf("%s: got %q in the output, want it escaped: %q", format, bad, output.String()[max(0, i-80):i+len(bad)])
			}
		}
		if !strings.Contains(output.String(), "user") {
			t.Errorf("%s: got no label in\n%s", format, &output)
		}
	}
	s.waitFor("the ends", func() bool { return len(s.listener("labelled").RecentlyClosed()) == len(values) })
	var got []string
	for _, row := range s.jsonClient().json("closed --sort ended --reverse listener=labelled").rows(t) {
		got = append(got, row["labels"].(map[string]any)["user"].(string))
	}
	for i := range values {
		values[i] = strings.ToValidUTF8(values[i], "")
	}
	less := func(a, b string) bool { return a < b }
	if diff := cmp.Diff(values, got, cmpopts.SortSlices(less)); diff != "" {
		t.Errorf("labels in JSON (-want +got):\n%s", diff)
	}
}
