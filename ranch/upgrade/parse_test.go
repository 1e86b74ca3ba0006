package upgrade

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzReadFrame(f *testing.F) {
	for _, s := range []frame{{ID: 1, Call: "ready", Body: json.RawMessage(`{"adopted":[0]}`)}, {ID: 1}, {ID: 2, Error: "x"}} {
		b, err := appendFrame(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 2, '{'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		fr, err := readFrame(r)
		if err != nil {
			if !errors.Is(err, errFrame) && err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Errorf("got error %v, want errFrame or an end", err)
			}
			return
		}
		again, err := appendFrame(fr)
		if err != nil {
			t.Fatalf("a frame that was read: %v", err)
		}
		second, err := readFrame(bytes.NewReader(again))
		if err != nil || second.ID != fr.ID || second.Call != fr.Call || second.Error != fr.Error {
			t.Errorf("read again: got %+v and error %v, want %+v", second, err, fr)
		}
	})
}

// A frame is read without a byte of what follows, because descriptors may follow.
func TestReadFrameReadsExactly(t *testing.T) {
	b, err := appendFrame(frame{ID: 3, Call: "x"})
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(append(b, "rest"...))
	if _, err := readFrame(r); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "rest" {
		t.Errorf("rest: got %q, want %q", rest, "rest")
	}
}

func validManifest() manifest {
	return manifest{
		Version: version, PID: 5, Generation: 3,
		Sockets:   []socketEntry{{Ref: "a", Addr: ":0", Bound: "[::]:80"}},
		Processes: []process{{PID: 4, Generation: 1}, {PID: 5, Generation: 2}},
	}
}

func TestParseManifest(t *testing.T) {
	for _, c := range []struct {
		change func(*manifest)
		want   string // in the error; "" is none
	}{
		{func(*manifest) {}, ""},
		{func(m *manifest) { m.Sockets = nil }, ""},
		{func(m *manifest) { m.Version++ }, "version 2"},
		{func(m *manifest) { m.PID = 0 }, "process 0"},
		{func(m *manifest) { m.Generation = 1 }, "generation 1"},
		{func(m *manifest) { m.Processes = nil }, "0 processes"},
		{func(m *manifest) { m.Processes = make([]process, 101) }, "101 processes"},
		{func(m *manifest) { m.Processes[0].Generation = 3 }, "generation 3"},
		{func(m *manifest) { m.Sockets[0].Ref = "" }, `listener ""`},
		{func(m *manifest) { m.Sockets = make([]socketEntry, 20_001) }, "20001 sockets"},
	} {
		m := validManifest()
		c.change(&m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseManifest(b)
		if c.want == "" {
			if err != nil || cmp.Diff(m, got, cmp.AllowUnexported(process{})) != "" {
				t.Errorf("got %+v and error %v, want %+v", got, err, m)
			}
		} else if !errors.Is(err, errManifest) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want errManifest with %q", err, c.want)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	b, err := json.Marshal(validManifest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("{}"))
	f.Add([]byte(`{"version":1,"pid":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err == nil && (len(m.Processes) == 0 || m.Generation < 2 || m.Version != version) {
			t.Errorf("got %+v, want an error", m)
		}
	})
}
