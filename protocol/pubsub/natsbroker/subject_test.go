package natsbroker

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"goranch/internal/topicname"
)

func TestSubjects(t *testing.T) {
	for _, tt := range []struct{ topic, want string }{
		{"news.go", "news.go"},
		{"a b", "a=20b"},
		{"", "="},
		{".", "=.="},
		{"a..b.", "a.=.b.="},
		{"*", "*"},
		{"a.*.>", "a.*.>"},
		{"a*.>b", "a=2A.=3Eb"},
		{">.a", "=3E.a"},
		{"é=\n", "=C3=A9=3D=0A"},
		{"$JS", "=24JS"},
	} {
		got, err := appendTopic(nil, tt.topic)
		if string(got) != tt.want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", tt.topic, got, err, tt.want)
		}
	}
	for _, topic := range []string{strings.Repeat("a", maxSubject+1), strings.Repeat("\x00", 1<<20), strings.Repeat(".", 1<<20)} {
		if got, err := appendTopic(nil, topic); err == nil {
			t.Errorf("%d bytes: got %.40q, want an error", len(topic), got)
		}
	}
}

// FuzzSubject checks that each topic has one subject, which is one for NATS, and back.
func FuzzSubject(f *testing.F) {
	for _, s := range []string{"", ".", "a.b", "a..b", "*", "a.>", ">.a", "a b*", "=", "=20", "=41", "a=", "\x00\xff", "=.=", "a.=.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if subject, err := appendTopic(nil, s); err == nil {
			if !server.IsValidSubject(string(subject)) || len(subject) > maxSubject {
				t.Errorf("%q: got %q, want a valid subject", s, subject)
			}
			topic, ok := topicOf(string(subject))
			if topicname.IsPattern(s) == server.IsValidLiteralSubject(string(subject)) {
				t.Errorf("%q: got %q, pattern %t, want wildcards in patterns only", s, subject, topicname.IsPattern(s))
			}
			if ok == topicname.IsPattern(s) || ok && topic != s {
				t.Errorf("%q: got %q, %t from %q, want it again unless it is a pattern", s, topic, ok, subject)
			}
		}
		if topic, ok := topicOf(s); ok {
			if subject, err := appendTopic(nil, topic); err != nil || string(subject) != s {
				t.Errorf("subject %q: got topic %q, whose subject is %q, %v", s, topic, subject, err)
			}
		}
	})
}
