package pubsub

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// matches is a straightforward implementation of patterns.
func matches(pattern, name []string) bool {
	switch {
	case len(pattern) == 0 || len(name) == 0:
		return len(pattern) == len(name)
	case pattern[0] == ">" && len(pattern) == 1:
		return true
	}
	return (pattern[0] == "*" || pattern[0] == name[0]) && matches(pattern[1:], name[1:])
}

// A patternTree, from which some patterns are removed again, finds the patterns that match.
func FuzzPatterns(f *testing.F) {
	f.Add("a.* a.> *.b > * a.b.* *.*.> . .* a..* >.a.* a.>.b.*", "a.b", uint(0))
	f.Add("a.* a.>", "a.", uint(1))
	f.Add("*.>.c *.b.c", "a.>.c", uint(2))
	f.Add("*", "*", uint(0))
	f.Fuzz(func(t *testing.T, all, name string, removed uint) {
		var tree patternTree
		var want []string
		added := map[string]bool{}
		for i, p := range strings.Fields(all) {
			if !isPattern(p) || added[p] {
				continue
			}
			added[p] = true
			t := &topic{name: p}
			tree.add(t)
			if removed>>(i%60)&1 == 1 {
				tree.remove(t)
			} else if matches(strings.Split(p, "."), strings.Split(name, ".")) {
				want = append(want, p)
			}
		}
		var got []string
		for _, t := range tree.match(name) {
			got = append(got, t.name)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("patterns that match %q: got %q, want %q", name, got, want)
		}
		for _, t := range tree.match(name) {
			tree.remove(t)
		}
		if n := len(tree.match(name)); n > 0 {
			t.Errorf("after removing all: got %d matches, want 0", n)
		}
	})
}

// A stream decodes to the same frames however it is split. Each accepted message encodes to one
// frame that subscribers can decode.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		"<regular-socket/>\x00PING\x00", "PUBLISH\x00{\"topic\":\"x\",\"data\":[1,{}]}\x00", "{\"action\":\"subscribe\",\"data\":\"x\"}\x00",
		"{\"action\":\"publish\",\"data\":{ \"topic\":\"x\"} ,\"id\":[1]}\x00", "\x00\x00{}\x00", "[[[[\x00", strings.Repeat("x", 70), "{\"topic\":\"\xff\"}\x00", "{\"topic\":\"a\\u0001\"}\x00",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		c := codec{maxFrame: 64}
		whole, pieces := framesOf(t, c, stream, len(stream)), framesOf(t, c, stream, int(piece)+1)
		if !slices.Equal(whole, pieces) {
			t.Fatalf("%q in pieces: got %q, want %q", stream, pieces, whole)
		}
		for _, frame := range whole {
			if r, err := parseRequest([]byte(frame)); err == nil {
				r.stringData()
				checkMessage(t, r.Data)
			}
			checkMessage(t, []byte(frame))
		}
		if m, n := droppedIn(stream); m < 0 || n < 0 && !bytes.Contains(stream, []byte("-")) {
			t.Errorf("droppedIn(%q): got %d, %d, want no negative number", stream, m, n)
		}
	})
}

// framesOf decodes a stream that arrives in pieces, up to a frame that is too large.
func framesOf(t *testing.T, c codec, stream []byte, piece int) (frames []string) {
	var buf []byte
	for len(stream) > 0 {
		n := min(max(1, piece), len(stream))
		buf, stream = append(buf, stream[:n]...), stream[n:]
		for len(buf) > 0 {
			frame, took, _, err := c.Decode(buf)
			if err != nil {
				t.Fatalf("Decode: got %v, want no error", err)
			}
			if took == 0 {
				break
			}
			if len(frame) > c.maxFrame {
				return append(frames, "too large")
			}
			frames, buf = append(frames, string(frame)), buf[took:]
		}
		if len(buf) > c.maxFrame {
			t.Fatalf("got %d undecoded bytes, want at most %d", len(buf), c.maxFrame)
		}
	}
	return frames
}

func checkMessage(t *testing.T, b []byte) {
	topic, m, err := parseMessage(b)
	if err != nil {
		return
	}
	out := stampedFrame(m, time.Now())
	if bytes.IndexByte(out, serverEnd) != len(out)-1 {
		t.Errorf("%q: got %#x inside the frame, want it only at the end", out, serverEnd)
	}
	var back struct {
		Timestamp []int64 `json:"timestamp"`
		Topic     string  `json:"topic"`
	}
	if err := json.Unmarshal(out[:len(out)-1], &back); err != nil || back.Topic != topic || len(back.Timestamp) != 3 {
		t.Errorf("%q: got %+v, %v, want topic %q and a timestamp", out, back, err, topic)
	}
	if n, _ := droppedIn(append(out, out...)); n != 2 {
		t.Errorf("two messages %q: got a count of %d, want 2", out, n)
	}
}
