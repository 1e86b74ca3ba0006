package transport_test

import (
	"testing"

	"goranch/internal/engine"
)

// A reader holds a small buffer until a read has filled that, and again after one that has not.
func TestPooledReaderBuffers(t *testing.T) {
	for _, name := range []string{"tcp", "tls1.3", "pipe"} {
		t.Run(name, func(t *testing.T) {
			server, client := pairOf(t, name)
			r := engine.Of(server).PooledReader()
			defer r.Release()
			const small = 4 << 10
			last := 0
			for _, size := range []int{10, 200_000, 10} {
				go client.Write(make([]byte, size))
				for n := 0; n < size; n += last {
					b, err := r.Next(engine.ReadSize)
					if err != nil {
						t.Fatal(err)
					}
					if last < small && cap(b) > small {
						t.Errorf("after a read of %d bytes: got a buffer of %d, want at most %d", last, cap(b), small)
					}
					last = len(b)
				}
			}
		})
	}
}
