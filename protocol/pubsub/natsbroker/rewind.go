package natsbroker

import (
	"context"
	"time"

	"goranch/protocol/pubsub"
)

// storedHeader is the time at which a message was stored, by the clock of the leader of the stream.
const storedHeader = "Nats-Time-Stamp"

// isRewound reports whether m, whose offset is not after that of the last delivered message, is a
// new message: a stream that was restored from a backup, or has lost its last messages in a power
// failure, uses offsets again. It then announces a gap before m; otherwise all messages up to the
// last delivered offset would be missing without notice.
//
// A message that a fill has delivered while it was queued was stored before the last one. Because
// the clocks of two leaders may differ, the leader has to confirm that the stream ends earlier.
// sh.work is held.
func (sh *shard) isRewound(topic string, o *order, st *stream, m pubsub.Message, storedAt string) bool {
	if !isLater(storedAt, o.stored) || time.Since(sh.rewindChecked) < retryMin {
		return false
	}
	ctx, cancel := context.WithTimeout(sh.b.ctx, infoTimeout)
	defer cancel()
	info, err := sh.b.info(ctx)
	if err != nil || info.State.LastSeq >= o.delivered {
		sh.rewindChecked = time.Now()
		return false
	}
	if now, err := sh.b.streamOf(info); err != nil || now.epoch != st.epoch {
		sh.b.wakeMonitor()
		return false
	}
	sh.mu.Lock()
	*o = order{st: st, interested: o.interested, known: true, last: m.Previous, anchor: m.Previous, sources: o.sources}
	sh.mu.Unlock()
	sh.b.rewound.Store(true)
	sh.b.checkSoon()
	sh.b.lost(topic, pubsub.Position{Epoch: st.epoch, Offset: m.Previous})
	return true
}

// isLater compares two times of messages.
func isLater(a, b string) bool {
	at, err := time.Parse(time.RFC3339Nano, a)
	if err != nil {
		return false
	}
	bt, err := time.Parse(time.RFC3339Nano, b)
	return err == nil && at.After(bt)
}
