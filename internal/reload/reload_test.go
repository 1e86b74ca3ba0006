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

// disk is read one content after the other, the last for ever; "bad" is no good.
type disk struct {
	content []string
	used    []string
	reads   int
}

func (d *disk) read() ([32]byte, func() error) {
	d.reads++
	now := d.content[0]
	d.content = d.content[min(1, len(d.content)-1):]
	return sha256.Sum256([]byte(now)), func() error {
		if now == "bad" {
			return errBad
		}
		d.used = append(d.used, now)
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
		want    []result // of as many calls
	}{
		"once":                {0, []string{"a"}, []result{{true, false, 1}, {false, false, 2}}},
		"a fault stays":       {1, []string{"a", "bad"}, []result{{true, false, 1}, {false, true, 2}, {false, true, 3}}},
		"mended":              {1, []string{"bad", "a"}, []result{{false, true, 1}, {true, false, 2}}},
		"replaced meanwhile":  {3, []string{"a", "bad", "b"}, []result{{true, false, 1}, {true, false, 3}}},
		"bad however often":   {3, []string{"bad"}, []result{{false, true, 2}, {false, true, 3}}},
		"back after a fault":  {1, []string{"a", "bad", "a"}, []result{{true, false, 1}, {false, true, 2}, {true, false, 3}}},
		"no try beyond those": {1, []string{"bad", "b"}, []result{{false, true, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &disk{content: c.content}
			f := &reload.Files{Read: d.read, Tries: c.tries}
			var got []result
			for range c.want {
				changed, err := f.Reload()
				got = append(got, result{changed, errors.Is(err, errBad), d.reads})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		interval time.Duration
		silent   bool
		told     []string
		used     []string
	}{
		"each change is told once": {time.Second, false, []string{"", "bad", ""}, []string{"a", "b"}},
		"nobody to tell":           {time.Second, true, nil, []string{"a", "b"}},
		"never":                    {-1, false, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &disk{content: []string{"a", "a", "bad", "bad", "b"}}
				f := &reload.Files{Read: d.read}
				var told []string
				notify := func(err error) {
					if err == nil {
						err = errors.New("")
					}
					told = append(told, err.Error())
				}
				if c.silent {
					notify = nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+1)
				defer cancel()
				if err := f.Run(ctx, c.interval, notify); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(c.told, told); diff != "" {
					t.Error("told:", diff)
				}
				if diff := cmp.Diff(c.used, d.used); diff != "" {
					t.Error("in use:", diff)
				}
			})
		})
	}
}
