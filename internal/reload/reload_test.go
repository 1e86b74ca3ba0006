package reload_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"goranch/internal/reload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBad = errors.New("bad")

// testFiles has the contents one after the other at each read, the last one for all later reads.
// The content "bad" cannot be used.
type testFiles struct {
	content []string
	used    []string
	reads   int
}

func (tf *testFiles) read() ([32]byte, func() error) {
	tf.reads++
	now := tf.content[0]
	tf.content = tf.content[min(1, len(tf.content)-1):]
	return sha256.Sum256([]byte(now)), func() error {
		if now == "bad" {
			return errBad
		}
		tf.used = append(tf.used, now)
		return nil
	}
}

func TestReload(t *testing.T) {
	type result struct {
		Changed, Bad bool
		Reads        int
	}
	for name, c := range map[string]struct {
		tries   int
		content []string
		want    []result // of one Reload each
	}{
		"unchanged":                    {0, []string{"a"}, []result{{true, false, 1}, {false, false, 2}}},
		"fault remains":                {1, []string{"a", "bad"}, []result{{true, false, 1}, {false, true, 2}, {false, true, 3}}},
		"fixed":                        {1, []string{"bad", "a"}, []result{{false, true, 1}, {true, false, 2}}},
		"replaced between reads":       {3, []string{"a", "bad", "b"}, []result{{true, false, 1}, {true, false, 3}}},
		"fault in all tries":           {3, []string{"bad"}, []result{{false, true, 2}, {false, true, 3}}},
		"former content after a fault": {1, []string{"a", "bad", "a"}, []result{{true, false, 1}, {false, true, 2}, {true, false, 3}}},
		"no more than Tries":           {1, []string{"bad", "b"}, []result{{false, true, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			tf := &testFiles{content: c.content}
			f := &reload.Files{Read: tf.read, Tries: c.tries}
			var got []result
			for range c.want {
				changed, err := f.Reload()
				got = append(got, result{changed, errors.Is(err, errBad), tf.reads})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		interval time.Duration
		noNotify bool
		reported []string
		used     []string
	}{
		"each change is reported once": {time.Second, false, []string{"", "bad", ""}, []string{"a", "b"}},
		"without notify":               {time.Second, true, nil, []string{"a", "b"}},
		"negative interval":            {-1, false, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tf := &testFiles{content: []string{"a", "a", "bad", "bad", "b"}}
				f := &reload.Files{Read: tf.read}
				var reported []string
				notify := func(err error) {
					if err == nil {
						err = errors.New("")
					}
					reported = append(reported, err.Error())
				}
				if c.noNotify {
					notify = nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+1)
				defer cancel()
				if err := f.Run(ctx, c.interval, notify); err != nil {
					t.Errorf("Run: got %v, want nil", err)
				}
				if diff := cmp.Diff(c.reported, reported); diff != "" {
					t.Errorf("reported (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.used, tf.used); diff != "" {
					t.Errorf("in use (-want +got):\n%s", diff)
				}
			})
		})
	}
}
