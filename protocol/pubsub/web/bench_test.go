package web_test

import (
	"fmt"
	"strings"
	"testing"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
)

// BenchmarkWebSocketFanOut publishes one message to 100 WebSockets and waits until all have
// received it.
func BenchmarkWebSocketFanOut(b *testing.B) {
	for _, size := range []int{64, 1000, 10_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			srv := newTestServer(b, pubsub.Options{}, web.Options{})
			const clients = 100
			received := make(chan struct{}, clients)
			for range clients {
				_, r := srv.rawSocket()
				go func() {
					for line, err := "", error(nil); err == nil; line, err = r.ReadString('}') {
						if strings.HasSuffix(line, `a"}`) { // the end of a message
							received <- struct{}{}
						}
					}
				}()
			}
			data := strings.Repeat("a", size)
			for b.Loop() {
				srv.publish("x", data)
				for range clients {
					<-received
				}
			}
		})
	}
}
