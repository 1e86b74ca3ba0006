package transport

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/termtext"
)

func labelledConn(t testing.TB) *Conn {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return NewConn(TCP{}, a)
}

func TestLabels(t *testing.T) {
	c := labelledConn(t)
	if got := c.Labels(); got != nil {
		t.Errorf("got %v, want none", got)
	}
	for _, l := range []Label{{"user", "ann"}, {"client", "7"}, {"zone", "eu"}, {"user", "bob"}, {"zone", ""}, {"none", ""}} {
		if err := c.SetLabel(l.Key, l.Value); err != nil {
			t.Fatal(err)
		}
	}
	before := c.Labels()
	want := []Label{{"client", "7"}, {"user", "bob"}}
	if diff := cmp.Diff(want, before); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	c.SetLabel("user", "")
	c.SetLabel("client", "")
	if diff := cmp.Diff(want, before); diff != "" {
		t.Errorf("labels that were returned before a change (-want +got):\n%s", diff)
	}
	if got := c.Labels(); got != nil {
		t.Errorf("after all were removed: got %v, want none", got)
	}
}

func TestBadLabels(t *testing.T) {
	for _, tc := range []struct{ key, value, want string }{
		{"", "x", `label key ""`},
		{strings.Repeat("k", 33), "x", "label key"},
		{"User", "x", `label key "User"`},
		{"a b", "x", `label key "a b"`},
		{"a=b", "x", `label key "a=b"`},
		{"\x1b[2J", "x", `label key "\x1b[2J"`},
		{"user", strings.Repeat("v", 129), "a value of 129 bytes: allowed are 128"},
		{"user", "\xff", `label user: value "\xff": allowed is UTF-8`},
		{"ninth", "x", "8 labels already"},
	} {
		c := labelledConn(t)
		for i := range 8 {
			if err := c.SetLabel(fmt.Sprintf("label-%d", i), strings.Repeat("v", 128)); err != nil {
				t.Fatal(err)
			}
		}
		before := c.Labels()
		err := c.SetLabel(tc.key, tc.value)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("SetLabel(%q, %q): got %v, want an error with %q", tc.key, tc.value, err, tc.want)
		}
		if diff := cmp.Diff(before, c.Labels()); diff != "" {
			t.Errorf("SetLabel(%q, %q) (-before +after):\n%s", tc.key, tc.value, diff)
		}
		if err := c.SetLabel("label-3", "other"); err != nil {
			t.Errorf("replacing one of 8 labels: got %v, want no error", err)
		}
	}
}

// Concurrent changes of different labels are all kept.
func TestConcurrentLabels(t *testing.T) {
	c := labelledConn(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 100 {
				c.SetLabel(fmt.Sprintf("k%d", i), fmt.Sprint(n))
			}
		})
	}
	wg.Wait()
	var want []Label
	for i := range 8 {
		want = append(want, Label{fmt.Sprintf("k%d", i), "99"})
	}
	if diff := cmp.Diff(want, c.Labels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestLabelString(t *testing.T) {
	for _, tc := range []struct{ value, want string }{
		{"ann", "user=ann"},
		{"ann@example.org", "user=ann@example.org"},
		{"日本", "user=日本"},
		{"", `user=""`},
		{"Ann B", `user="Ann B"`},
		{`a"b`, `user="a\"b"`},
		{"a=b", `user="a=b"`},
		{`a\b`, `user="a\\b"`},
		{"\x1b[2J", `user="\x1b[2J"`},
		{"\u202e", `user="\u202e"`},
		{"\xff", `user="\xff"`},
	} {
		if got := (Label{"user", tc.value}).String(); got != tc.want {
			t.Errorf("value %q: got %s, want %s", tc.value, got, tc.want)
		}
	}
	for _, s := range termtext.Nasty {
		got := Label{"user", s}.String()
		for _, bad := range append(termtext.Forbidden, "\n") {
			if strings.Contains(got, bad) {
				t.Errorf("value %q: got %q, which contains %q", s, got, bad)
			}
		}
	}
}

// Labels cost a connection without any no more than a pointer.
func TestLabelsOfUnlabelledConnection(t *testing.T) {
	var c Conn
	if got, want := unsafe.Sizeof(c.labels), unsafe.Sizeof(uintptr(0)); got != want {
		t.Errorf("got %d bytes, want %d", got, want)
	}
	conn := labelledConn(t)
	if n := testing.AllocsPerRun(100, func() { conn.Labels() }); n != 0 {
		t.Errorf("Labels: got %v allocations, want 0", n)
	}
}

func FuzzSetLabel(f *testing.F) {
	f.Add("user", "ann")
	for _, s := range termtext.Nasty {
		f.Add("user", s)
		f.Add(s, "ann")
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		c := labelledConn(t)
		err := c.SetLabel(key, value)
		got := c.Labels()
		if err != nil || value == "" {
			if got != nil {
				t.Errorf("SetLabel(%q, %q): got %v, want no label (error %v)", key, value, got, err)
			}
			return
		}
		if diff := cmp.Diff([]Label{{key, value}}, got); diff != "" {
			t.Errorf("SetLabel(%q, %q) (-want +got):\n%s", key, value, diff)
		}
	})
}
