package protocol

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"goranch/internal/bufpool"
)

// A blocked write of the whole queue keeps one buffer of the size of what has been queued.
func TestQueueBuffers(t *testing.T) {
	for _, size := range []int{100, 10_000, flushSize} {
		q, b := &queue{}, []byte(nil)
		q.push(make([]byte, size), false, false)
		p := q.take(&b, flushSize)
		if got, most := cap(q.buf)+cap(b), bufpool.Size(size); len(p) != size || got > most {
			t.Errorf("%d bytes: got %d to write and buffers of %d, want all and at most %d", size, len(p), got, most)
		}
	}
}

// A queue behaves like a list of frames, of which the first may be taken in part.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var model [][]byte
		alone := map[byte]bool{} // by their bytes: frames that are not written with others
		q, next, partly, dropped := &queue{}, byte(0), false, false
		var b []byte
		flat := func() []byte { return bytes.Join(model, nil) }
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				next++
				p := bytes.Repeat([]byte{next}, rapid.IntRange(0, 20).Draw(t, "size"))
				alone[next] = rapid.Bool().Draw(t, "alone")
				if q.push(p, true, alone[next]); len(p) > 0 {
					model = append(model, p)
				}
			},
			"take": func(t *rapid.T) {
				max := rapid.IntRange(1, 30).Draw(t, "size")
				var want []byte
				for i, f := range model {
					if i > 0 && (alone[f[0]] || alone[model[i-1][0]]) {
						break
					}
					want = append(want, f...)
				}
				got := q.take(&b, max)
				q.inflight = 0
				n := len(got)
				if n > min(max, len(want)) || !bytes.Equal(got, want[:n]) || n == 0 && len(want) > 0 || n < min(max, len(want)) && !dropped {
					t.Fatalf("take: got %v, want the beginning of %v", got, want)
				}
				for n > 0 {
					m := min(n, len(model[0]))
					n -= m
					if partly = m < len(model[0]); partly {
						model[0] = model[0][m:]
					} else {
						model = model[1:]
					}
				}
			},
			"drop": func(t *rapid.T) {
				bytes := rapid.IntRange(1, 40).Draw(t, "bytes")
				dropped = true // the cuts around dropped frames stay
				first, size, frames := 0, 0, 0
				if partly && len(model) > 0 {
					first = 1
				}
				whole := 0
				for _, f := range model[first:] {
					whole += len(f)
				}
				if n := q.droppable(); n != whole {
					t.Fatalf("droppable: got %d, want %d", n, whole)
				}
				for size < bytes && first+frames < len(model) {
					size += len(model[first+frames])
					frames++
				}
				model = append(model[:first:first], model[first+frames:]...)
				if n := q.drop(bytes, nil); n != frames {
					t.Fatalf("drop: got %d frames, want %d", n, frames)
				}
			},
			"": func(t *rapid.T) {
				if q.size() != len(flat()) || !bytes.Equal(q.buf[q.head:], flat()) {
					t.Fatalf("got a queue of %v, want %v", q.buf[q.head:], flat())
				}
			},
		})
	})
}
