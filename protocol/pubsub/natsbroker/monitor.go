package natsbroker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// monitor sends heartbeats, and checks the stream and the topics.
func (b *Broker) monitor() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var beat, checked, found time.Time
	kind, failures := arriving, 0
	for {
		woken := false
		select {
		case <-b.ctx.Done():
			return
		case <-timer.C:
		case <-b.wake:
			woken = true
		}
		if b.nc.IsConnected() && time.Since(beat) >= beatInterval-beatInterval/8 {
			b.sendHeartbeat(kind)
			beat, kind = time.Now(), alive
		}
		all := b.recheck.Swap(false) || !woken && b.slow.Load() > 0 && b.slow.Add(-1) >= 0 || time.Since(checked) >= checkInterval
		find := all || woken || failures > 0 || time.Since(found) >= beatInterval
		if err := b.checkAll(find, all); err != nil {
			if b.nc.IsConnected() && failures == 0 {
				b.opts.OnError(fmt.Errorf("NATS: stream %s: %w", b.streamName(), err))
			}
			b.recheck.Store(true)
			b.interest.recentTopics(0) // empties the list, which would grow until a check succeeds; that one checks all topics
			failures++
			timer.Reset(retryDelay(failures))
			continue
		}
		failures = 0
		if find {
			found = time.Now()
		}
		if all {
			checked = time.Now()
		}
		timer.Reset(min(beatInterval, newCheck))
	}
}

// retryDelay returns the time before the next attempt, half of which is random.
func retryDelay(failures int) time.Duration {
	d := min(retryMin<<min(failures-1, 6), beatInterval)
	return d/2 + rand.N(d/2+1)
}

// checkAll checks the stream if find is set, and all topics or those that were subscribed to since.
func (b *Broker) checkAll(find, all bool) error {
	if !b.nc.IsConnected() {
		return errConnecting
	}
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	if find {
		err := b.findStream(ctx)
		b.setState(&b.state.stream, err)
		if err != nil {
			return err
		}
	}
	if !all && !b.recheck.Swap(false) {
		return b.check(ctx, b.interest.recentTopics(newCheck))
	}
	b.interest.recentTopics(0)
	if b.rewound.Swap(false) {
		b.settled.reset()
	}
	info, err := b.info(ctx)
	if err == nil {
		err = b.check(ctx, b.interest.orderedTopics())
	}
	if err == nil {
		b.settled.add(info.State.LastSeq)
	}
	return err
}
