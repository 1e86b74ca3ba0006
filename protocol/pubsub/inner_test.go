package pubsub

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// fits is what a pattern means, without any cleverness.
func fits(pattern, name []string) bool {
	switch {
	case len(pattern) == 0 || len(name) == 0:
		return len(pattern) == len(name)
	case pattern[0] == ">" && len(pattern) == 1:
		return true
	}
	return (pattern[0] == "*" || pattern[0] == name[0]) && fits(pattern[1:], name[1:])
}

// Some patterns, of which some are taken away again, find a name as a naive matcher does.
func FuzzPatterns(f *testing.F) {
	f.Add("a.* a.> *.b > * a.b.* *.*.> . .* a..* >.a.* a.>.b.*", "a.b", uint(0))
	f.Add("a.* a.>", "a.", uint(1))
	f.Add("*.>.c *.b.c", "a.>.c", uint(2))
	f.Add("*", "*", uint(0))
	f.Fuzz(func(t *testing.T, all, name string, removed uint) {
		var ps patterns
		var want []string
		added := map[string]bool{}
		for i, p := range strings.Fields(all) {
			if !isPattern(p) || added[p] {
				continue
			}
			added[p] = true
			one := &topic{name: p}
			ps.add(one)
			if removed>>(i%60)&1 == 1 {
				ps.remove(one)
			} else if fits(strings.Split(p, "."), strings.Split(name, ".")) {
				want = append(want, p)
			}
		}
		var got []string
		for _, one := range ps.match(name) {
			got = append(got, one.name)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		for _, one := range ps.match(name) {
			ps.remove(one)
		}
		if len(ps.match(name)) > 0 {
			t.Error("not all gone")
		}
	})
}

// However a stream is cut, its frames are the same; what is taken for a message is one that
// subscribers can read, and holds nothing that ends a frame.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		"<regular-socket/>\x00PING\x00", "PUBLISH\x00{\"topic\":\"x\",\"data\":[1,{}]}\x00", "{\"action\":\"subscribe\",\"data\":\"x\"}\x00",
		"{\"action\":\"publish\",\"data\":{ \"topic\":\"x\"} ,\"id\":[1]}\x00", "\x00\x00{}\x00", "[[[[\x00", strings.Repeat("x", 70), "{\"topic\":\"\xff\"}\x00", "{\"topic\":\"a\\u0001\"}\x00",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		c := codec{max: 64}
		whole, pieces := framesOf(t, c, stream, len(stream)), framesOf(t, c, stream, int(piece)+1)
		if !slices.Equal(whole, pieces) {
			t.Fatalf("%q: %q, in pieces %q", stream, whole, pieces)
		}
		for _, frame := range whole {
			if r, err := parseRequest([]byte(frame)); err == nil {
				r.text()
				checkMessage(t, r.Data)
			}
			checkMessage(t, []byte(frame))
		}
		if m, n := lostWith(stream); m < 0 || n < 0 && !bytes.Contains(stream, []byte("-")) {
			t.Errorf("%d messages, %d untold", m, n)
		}
	})
}

// framesOf decodes a stream that arrives in pieces, up to a frame that is too long.
func framesOf(t *testing.T, c codec, stream []byte, piece int) (frames []string) {
	var buf []byte
	for len(stream) > 0 {
		n := min(max(1, piece), len(stream))
		buf, stream = append(buf, stream[:n]...), stream[n:]
		for len(buf) > 0 {
			frame, took, _, err := c.Decode(buf)
			if err != nil {
				t.Fatal(err)
			}
			if took == 0 {
				break
			}
			if len(frame) > c.max {
				return append(frames, "too long")
			}
			frames, buf = append(frames, string(frame)), buf[took:]
		}
		if len(buf) > c.max {
			t.Fatalf("%d bytes wait", len(buf))
		}
	}
	return frames
}

func checkMessage(t *testing.T, b []byte) {
	topic, m, err := parseMessage(b)
	if err != nil {
		return
	}
	out := stamped(m, time.Now())
	if bytes.IndexByte(out, serverEnd) != len(out)-1 {
		t.Errorf("%q ends too early", out)
	}
	var back struct {
		Timestamp []int64 `json:"timestamp"`
		Topic     string  `json:"topic"`
	}
	if err := json.Unmarshal(out[:len(out)-1], &back); err != nil || back.Topic != topic || len(back.Timestamp) != 3 {
		t.Errorf("%q: %v", out, err)
	}
	if n, _ := lostWith(append(out, out...)); n != 2 {
		t.Errorf("%q counts as %d", out, n)
	}
}
