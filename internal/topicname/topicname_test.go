package topicname_test

import (
	"testing"

	"goranch/internal/topicname"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, topic string
		want           bool
	}{
		{"a.*", "a.b", true}, {"a.*", "a", false}, {"a.*", "a.b.c", false}, {"*", "a", true}, {"*", "a.b", false},
		{"*.b", "a.b", true}, {"a.>", "a", false}, {"a.>", "a.b", true}, {"a.>", "a.b.c", true}, {">", "a.b", true},
		{"a.*.c", "a.b.c", true}, {"a.*.c", "a.b.d", false}, {"*.*", "a.b", true}, {"*.>", "a", false},
	} {
		if got := topicname.Match(tt.pattern, tt.topic); got != tt.want {
			t.Errorf("topicname.Match(%q, %q): got %v, want %v", tt.pattern, tt.topic, got, tt.want)
		}
		if !topicname.IsPattern(tt.pattern) {
			t.Errorf("topicname.IsPattern(%q): got false, want true", tt.pattern)
		}
	}
	for _, name := range []string{"a", "a.b", "a*", "a.>.b", ">a", ""} {
		if topicname.IsPattern(name) {
			t.Errorf("topicname.IsPattern(%q): got true, want false", name)
		}
	}
}
