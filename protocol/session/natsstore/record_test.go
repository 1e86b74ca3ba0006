package natsstore_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"goranch/protocol/session"
	"goranch/protocol/session/natsstore"
)

func TestRecordFormat(t *testing.T) {
	when := time.Unix(1, 2)
	for _, node := range []string{"", "a.B", strings.Repeat("n", 255)} {
		want := session.Record{Generation: 1 << 63, Created: when, Seen: when.Add(-1e18), Attached: true, State: []byte("{}")}
		got, err := natsstore.Decode(natsstore.Encode(&want, node))
		if err != nil {
			t.Errorf("node of %d bytes: got error %v, want none", len(node), err)
		}
		if diff := cmp.Diff(want, got.Record); diff != "" {
			t.Errorf("node of %d bytes: record (-want +got):\n%s", len(node), diff)
		}
	}
}

// What is in the bucket may have been written by anything.
func FuzzDecode(f *testing.F) {
	f.Add(natsstore.Encode(&session.Record{Generation: 3, Attached: true, State: []byte("{}")}, "node"))
	f.Add([]byte{1})
	f.Add(append(make([]byte, 26), 255))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := natsstore.Decode(b)
		if err != nil {
			if !errors.Is(err, natsstore.ErrFormat) {
				t.Errorf("error: got %v, want %v", err, natsstore.ErrFormat)
			}
			return
		}
		again, err := natsstore.Decode(natsstore.Encode(&r.Record, ""))
		if err != nil || !bytes.Equal(again.State, r.State) || again.Generation != r.Generation {
			t.Errorf("encoded and decoded: got %+v and error %v, want %+v", again.Record, err, r.Record)
		}
	})
}

func TestOptions(t *testing.T) {
	e := newEngine(t, nil)
	nc := e.connect(t)
	for _, tt := range []struct {
		opts natsstore.Options
		want string
	}{
		{natsstore.Options{Bucket: "a.b"}, "Bucket"},
		{natsstore.Options{Node: strings.Repeat("n", 65)}, "Node"},
		{natsstore.Options{Replicas: 6}, "Replicas"},
		{natsstore.Options{MaxBytes: -2}, "MaxBytes"},
		{natsstore.Options{MaxState: -1}, "MaxState"},
		{natsstore.Options{Timeout: -1}, "Timeout"},
	} {
		if _, err := natsstore.Open(t.Context(), nc, tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got error %v, want one about %s", tt.opts, err, tt.want)
		}
	}
	js, err := jetstream.New(nc)
	must(t, err)
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "foreign"})
	must(t, err)
	if _, err := natsstore.Open(t.Context(), nc, natsstore.Options{Bucket: "foreign"}); !errors.Is(err, natsstore.ErrFormat) {
		t.Errorf("Open of a bucket of another kind: got error %v, want %v", err, natsstore.ErrFormat)
	}
}

// Records that cannot be read are not taken over, and not overwritten.
func TestForeignRecords(t *testing.T) {
	e := newEngine(t, nil)
	a := newNode(t, e, session.Options[state]{}, natsstore.Options{})
	js, err := jetstream.New(a.nc)
	must(t, err)
	_, err = js.Publish(t.Context(), "$KV.sessions."+natsstore.KeyOf("x"), []byte("text"))
	must(t, err)
	if _, err := a.Attach(t.Context(), "x", nil, newClient()); !errors.Is(err, natsstore.ErrFormat) {
		t.Errorf("Attach: got error %v, want %v", err, natsstore.ErrFormat)
	}
	if err := a.store.Each(func(session.Record) bool { return true }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Each: got error %v, want %v", err, errors.ErrUnsupported)
	}
}
