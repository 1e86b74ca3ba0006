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

// OpenImpatient is Open of a store that waits only briefly for nodes that do not answer, and for a
// bucket that was deleted.
func OpenImpatient(ctx context.Context, nc *nats.Conn, opts Options, releaseTimeout time.Duration) (session.NodeStore, error) {
	s, err := open(ctx, nc, opts)
	if err != nil {
		return nil, err
	}
	s.times = times{release: releaseTimeout, check: 200 * time.Millisecond, create: 20 * time.Millisecond, settle: 30 * time.Second}
	return s, nil
}

// Held returns how many records s has written and not lost.
func Held(s session.Store) int {
	st := s.(*store)
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.leases)
}

// Settle ends the time for which a new bucket may lack sessions of other nodes.
func Settle(s session.Store) {
	st := s.(*store)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.bucket.renewed = time.Time{}
}
