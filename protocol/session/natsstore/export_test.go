package natsstore

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/protocol/session"
)

// Exported for tests.
var (
	Decode = decode
	Encode = encode
	KeyOf  = keyOf
)

// OpenImpatient is Open of a store that waits only briefly for nodes that do not answer.
func OpenImpatient(ctx context.Context, nc *nats.Conn, opts Options, releaseTimeout time.Duration) (session.NodeStore, error) {
	s, err := open(ctx, nc, opts)
	if err != nil {
		return nil, err
	}
	s.releaseTimeout = releaseTimeout
	return s, nil
}

// Held returns how many records s has written and not lost.
func Held(s session.Store) int {
	st := s.(*store)
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.held)
}
