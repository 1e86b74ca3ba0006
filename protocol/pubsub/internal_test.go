package pubsub

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"goranch/internal/topicname"
)

// wantMatch is a straightforward implementation of patterns.
func wantMatch(pattern, name []string) bool {
	switch {
	case len(pattern) == 0 || len(name) == 0:
		return len(pattern) == len(name)
	case pattern[0] == ">" && len(pattern) == 1:
		return true
	}
	return (pattern[0] == "*" || pattern[0] == name[0]) && wantMatch(pattern[1:], name[1:])
}

// A patternIndex, from which some patterns are removed again, finds the patterns that match.
func FuzzPatterns(f *testing.F) {
	f.Add("a.* a.> *.b > * a.b.* *.*.> . .* a..* >.a.* a.>.b.*", "a.b", uint(0))
	f.Add("a.* a.>", "a.", uint(1))
	f.Add("*.>.c *.b.c", "a.>.c", uint(2))
	f.Add("*", "*", uint(0))
	f.Add(strings.Repeat("*.", 31)+"> "+strings.Repeat("a.", 31)+"*", strings.Repeat("a.", 32)+"a", uint(0))
	f.Add("a.b.*.d.e.*.g *.b.c.d.e.*.g a.*.*.d.e.f.g", "a.b.c.d.e.f.g", uint(0))
	f.Fuzz(func(t *testing.T, all, name string, removed uint) {
		index := &patternIndex{seed: maphash.MakeSeed()}
		var want []string
		added := map[string]bool{}
		for i, p := range strings.Fields(all) {
			if !topicname.IsPattern(p) || checkPattern(p) != nil || added[p] {
				continue
			}
			added[p] = true
			t := &topic{name: p}
			if err := index.add(t, nil); err != nil {
				continue
			}
			if removed>>(i%60)&1 == 1 {
				index.remove(t)
			} else if wantMatch(strings.Split(p, "."), strings.Split(name, ".")) {
				want = append(want, p)
			}
		}
		var got []string
		for _, t := range index.match(name) {
			got = append(got, t.name)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("patterns that match %q: got %q, want %q", name, got, want)
		}
		for _, t := range index.match(name) {
			index.remove(t)
		}
		if n := len(index.match(name)); n > 0 {
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
		"{\"data\":{\"topic\":\"a\"},\"DATA\":{\"x\":{\"topic\":\"b\"}}}\x00", "{\"data\":{\"topic\":1},\"data\":{\"topic\":\"c\"}}\x00", "{\"data\":[{\"topic\":\"c\"}]}\x00", "{\"data\":{\"topic\":\"a\"},\"data\":null}\x00",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		whole, pieces := framesOf(t, stream, len(stream)), framesOf(t, stream, int(piece)+1)
		if !slices.Equal(whole, pieces) {
			t.Fatalf("%q in pieces: got %q, want %q", stream, pieces, whole)
		}
		for _, frame := range whole {
			if r, err := parseRequest([]byte(frame)); err == nil {
				r.stringData()
				checkMessage(t, r.Data)
				topic, text, err := r.messageData()
				wantTopic, wantText, wantErr := parseMessage(r.Data)
				if topic != wantTopic || string(text) != string(wantText) || (err == nil) != (wantErr == nil) {
					t.Errorf("message in %q: got %q, %q, %v, want %q, %q, %v", frame, topic, text, err, wantTopic, wantText, wantErr)
				}
			}
			checkMessage(t, []byte(frame))
		}
		if m, n := droppedIn(stream); m < 0 || n < 0 && !bytes.Contains(stream, []byte("-")) {
			t.Errorf("droppedIn(%q): got %d, %d, want no negative number", stream, m, n)
		}
	})
}

// framesOf decodes a stream that arrives in pieces, up to a frame of more than 64 bytes.
func framesOf(t *testing.T, stream []byte, piece int) (frames []string) {
	var all accounts
	all.init(&Options{TotalBytes: -1})
	var in incoming
	a := all.open(nil)
	for len(stream) > 0 {
		n := min(max(1, piece), len(stream))
		buf := stream[:n]
		stream = stream[n:]
		for len(buf) > 0 {
			b, took, _, err := codec{}.Decode(buf)
			if err != nil || took == 0 {
				t.Fatalf("Decode: got %d bytes and %v, want some and no error", took, err)
			}
			buf = buf[took:]
			b, complete := bytes.CutSuffix(b, []byte{clientEnd})
			if in.add(b, 64, a) != nil {
				return append(frames, "too large")
			}
			if complete {
				frames = append(frames, string(in.buf))
				in.reset(a)
			}
		}
	}
	return frames
}

// seenMembers records the members that a scanner reports.
type seenMembers []string

func (s *seenMembers) member(outer, key, value []byte) error {
	if outer == nil {
		*s = append(*s, string(key)+"="+string(value))
	}
	return nil
}

// depthOf returns how deeply valid JSON is nested.
func depthOf(b []byte) (deepest int) {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// The scanner accepts the objects that encoding/json accepts and that are valid UTF-8, however they
// are divided, and reports the same members.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[true,false,null,{"c":"d"}],"\u00e9":-0.5e+10}`, `{}`, ` { } `, `{"a":"\ud83d\ude00\n\"é"}`, "{\"a\":\"\xff\"}", `{"a":01}`,
		`{"a":1.}`, `{"a":-}`, `{"a":1e}`, `{"a":tru}`, `{"a" 1}`, `{"a":1,}`, `{"a":[1,]}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `[1]`, `{"a":"`, `{"a":[[[[]]]]}`, `{"a":1}x`,
		`{"a":` + strings.Repeat("[", 127) + strings.Repeat("]", 127) + `}`, `{"a":` + strings.Repeat("[", 128) + strings.Repeat("]", 128) + `}`,
	} {
		f.Add([]byte(s), uint8(2))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		var fields map[string]json.RawMessage
		want := json.Unmarshal(b, &fields) == nil && fields != nil && utf8.Valid(b) && depthOf(b) <= maxDepth
		var whole seenMembers
		err := scanObject(b, &whole)
		if got := err == nil; got != want {
			t.Fatalf("%q: got %v, want valid=%v", b, err, want)
		}
		var s jsonScanner
		var inPieces seenMembers
		done := false
		for n := 0; n < len(b) && !done; {
			n = min(n+int(piece)+1, len(b))
			if done, err = s.scan(b[:n], &inPieces); err != nil {
				break
			}
		}
		if want && (!done || !slices.Equal(whole, inPieces)) {
			t.Fatalf("%q in pieces: got %v, %q, want %q", b, done, inPieces, whole)
		}
		if want {
			for _, m := range whole {
				key, _, _ := strings.Cut(m, "=")
				name, _ := unquote([]byte(key))
				if _, ok := fields[name]; !ok && bytes.Count([]byte(m), []byte("=")) == 1 {
					t.Fatalf("%q: got the member %q, want one of %v", b, name, fields)
				}
			}
		}
	})
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

// BenchmarkScanner scans messages of 64 KiB.
func BenchmarkScanner(b *testing.B) {
	for name, element := range map[string]string{
		"nested":  strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"numbers": "1,-2.5e3", "text": `"The quick brown fox jumps over the lazy dog"`, "unicode": `"жäöü😀"`, "objects": `{"id":7,"name":"x","on":true}`,
		"escapes": `"\n\u00e9\\"`,
	} {
		b.Run(name, func(b *testing.B) {
			message := []byte(`{"topic":"x","data":[` + strings.Repeat(element+",", (64<<10)/len(element)) + `0]}`)
			b.SetBytes(int64(len(message)))
			for b.Loop() {
				if _, _, err := parseMessage(message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A client can make the server keep topics and subscriptions that never get a message, so they are
// small; subscriptionBytes is what they count for.
func TestSubscriptionSize(t *testing.T) {
	if strconv.IntSize != 64 {
		t.Skip("the sizes are those of 64-bit systems")
	}
	for what, size := range map[string][2]uintptr{
		"topic":        {unsafe.Sizeof(topic{}), 80},
		"subscription": {unsafe.Sizeof(subscription{}), 24},
		"client":       {unsafe.Sizeof(Client{}), 144},
		"subscriber":   {unsafe.Sizeof(subscriber{}), 112},
	} {
		if size[0] > size[1] {
			t.Errorf("%s: got %d bytes, want at most %d", what, size[0], size[1])
		}
	}
}

// A few source addresses cannot use up what all clients may use.
func TestSharesOfManyAddresses(t *testing.T) {
	var all accounts
	all.init(&Options{TotalBytes: 16 << 20})
	for i := range 200 {
		a := all.open(&net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(i))})
		for a.chargeSubscriptions(600) == nil {
		}
		for a.resizeFrame(0, 32<<10) == nil {
		}
		part := float64(all.total-all.bytes.Load()) / float64(all.total)
		switch i + 1 {
		case 14:
			if part < 0.5 {
				t.Errorf("14 addresses: got %.2f free, want half", part)
			}
		case 50:
			if part < 0.1 {
				t.Errorf("50 addresses: got %.2f free, want 0.1", part)
			}
		}
	}
	if err := all.open(&net.TCPAddr{IP: net.IPv4(198, 51, 100, 1)}).chargeSubscriptions(600); err != nil {
		t.Errorf("one more address: got %v, want no error", err)
	}
}

type interestBroker struct{ Broker }

func (interestBroker) Ordered(string) bool              { return true }
func (interestBroker) Subscribe(...string)              {}
func (interestBroker) Unsubscribe(...string)            {}
func (interestBroker) Receive(Receiver) (func(), error) { return func() {}, nil }

// The position of an ordered topic is not known anymore at the moment at which its last
// subscription ends, also if the next one begins before the topic is removed.
func TestPositionEndsWithInterest(t *testing.T) {
	s, err := NewServer(Options{Broker: interestBroker{}})
	if err != nil {
		t.Fatalf("NewServer: got %v, want no error", err)
	}
	defer s.Close(t.Context())
	release, err := s.topics.pin("x", nil)
	if err != nil {
		t.Fatalf("pin: got %v, want no error", err)
	}
	x := s.topics.lock("x")
	s.topics.historyOf(x).restart(Position{"e", 7})
	x.mu.Unlock()
	release()
	if h := x.history; h.epoch != "" || h.offset != 0 {
		t.Errorf("history: got %q, %d, want none", h.epoch, h.offset)
	}
}
