package bots

import (
	"encoding/binary"
	"math"
	"time"
)

// burst is one message on its way to all bots.
type burst struct {
	told   bool
	at     int64 // when it was published, in ticks; 0 if it could not be
	got    []arrival
	absent int // bots that were lost before they got it
}

type arrival struct {
	bot  int32
	late int32 // microseconds since the message's timestamp
	at   int64 // in ticks
}

// burst returns that of a number, which may arrive at bots before the coordinator tells of it.
func (c *crew) burst(n int) *burst {
	b := c.bursts[n]
	if b == nil && c.over[n] { // a late one
		return &burst{}
	}
	if b == nil {
		b = &burst{got: make([]arrival, 0, c.Clients-c.lost), absent: c.lost}
		c.bursts[n] = b
	}
	return b
}

func (b *burst) add(bot int, at time.Time, stamp int64) {
	late := at.UnixMicro() - stamp
	b.got = append(b.got, arrival{int32(bot), int32(max(math.MinInt32, min(late, math.MaxInt32))), ticks(at)})
}

// finish tells what became of a burst, if nothing more is to be waited for.
func (c *crew) finish(n int, b *burst, now time.Time) {
	if !b.told || b.at != 0 && len(b.got)+b.absent < c.Clients && ticks(now) <= b.at+int64(c.Timeout) {
		return
	}
	delete(c.bursts, n)
	c.over[n] = true
	res := &burstResult{Number: n}
	for _, a := range b.got {
		wait := a.at - b.at
		if b.at == 0 || wait > int64(c.Timeout) {
			res.Late++
			continue
		}
		if a.late < 0 {
			res.Ahead++
		}
		c.bots[a.bot].good++
		res.Samples = binary.LittleEndian.AppendUint32(res.Samples, uint32(a.late))
		res.Samples = binary.LittleEndian.AppendUint32(res.Samples, uint32(max(0, wait/1000)))
	}
	c.tell(news{Burst: res})
}
