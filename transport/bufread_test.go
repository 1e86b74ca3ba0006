package transport_test

import (
	"testing"

	"goranch/internal/engine"
)

// The buffer of a reader is at most four times as large as what the last read has received, but at
// least 4 KiB.
func TestPooledReaderBuffers(t *testing.T) {
	for _, name := range []string{"tcp", "tls1.3", "pipe"} {
		t.Run(name, func(t *testing.T) {
			server, client := pairOf(t, name)
			r := engine.Of(server).PooledReader(nil)
			defer r.Release()
			last, largest := 0, 0
			for _, size := range []int{10, 200_000, 10} {
				go client.Write(make([]byte, size))
				for n := 0; n < size; n += last {
					b, err := r.Next(engine.ReadSize)
					if err != nil {
						t.Fatal(err)
					}
					if want := 4 * max(1<<10, last); cap(b) > want {
						t.Errorf("after a read of %d bytes: got a buffer of %d, want at most %d", last, cap(b), want)
					}
					last, largest = len(b), max(largest, cap(b))
				}
			}
			if largest <= 4<<10 {
				t.Errorf("got buffers of up to %d bytes for 200000 bytes, want larger ones", largest)
			}
		})
	}
}
