package sessionrecord_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/sessionrecord"
	"goranch/protocol/session"
)

func Example() {
	b := sessionrecord.Append(nil, &session.Record{Attached: true, Generation: 3, Created: time.Unix(1, 0), Seen: time.Unix(2, 0)})
	r, rest, ok := sessionrecord.Parse(append(b, "state"...))
	fmt.Println(r.Attached, r.Generation, string(rest), ok)
	// Output: true 3 state true
}

// The encoding is that of earlier versions, whose files are read.
func TestFormat(t *testing.T) {
	r := session.Record{Attached: true, Generation: 0x0102, Created: time.Unix(0, 3), Seen: time.Unix(0, 4)}
	got := sessionrecord.Append(nil, &r)
	want := []byte("\x01\x01\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x04")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	back, rest, ok := sessionrecord.Parse(got)
	if diff := cmp.Diff(r, back); diff != "" || len(rest) != 0 || !ok {
		t.Errorf("got rest %q, %v (-want +got):\n%s", rest, ok, diff)
	}
	for _, b := range []string{"", string(want[:len(want)-1]), "\x02" + string(want[1:])} {
		if _, _, ok := sessionrecord.Parse([]byte(b)); ok {
			t.Errorf("Parse(%q): got a record, want none", b)
		}
	}
}
