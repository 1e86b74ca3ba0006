package bots

import (
	"encoding/binary"
	"math"
	"time"
)

// broadcast is one message on its way to the clients of a worker.
type broadcast struct {
	published  bool  // the coordinator has reported it
	at         int64 // when it was published or due, in ticks; 0: it could not be published
	deliveries []delivery
	absent     int // clients that were lost before they received it
}

type delivery struct {
	client  int32
	latency int32 // microseconds since the message's timestamp
	at      int64 // in ticks
}

// broadcast returns the broadcast of message n. A client can receive a message before the worker
// receives the command Published.
func (w *worker) broadcast(n int) *broadcast {
	b := w.broadcasts[n]
	if b == nil && w.reported[n] {
		return &broadcast{} // too late; dropped
	}
	if b == nil {
		b = &broadcast{deliveries: make([]delivery, 0, w.NumClients-w.lost), absent: w.lost}
		w.broadcasts[n] = b
	}
	return b
}

func (b *broadcast) add(client int, at time.Time, stamp int64) {
	latency := at.UnixMicro() - stamp
	b.deliveries = append(b.deliveries, delivery{int32(client), int32(max(math.MinInt32, min(latency, math.MaxInt32))), ticks(at)})
}

// reportIfComplete reports a broadcast if every client has received it or is lost, or if the
// timeout has passed.
func (w *worker) reportIfComplete(n int, b *broadcast, now time.Time) {
	if !b.published || b.at != 0 && len(b.deliveries)+b.absent < w.NumClients && ticks(now) <= b.at+int64(w.Timeout) {
		return
	}
	delete(w.broadcasts, n)
	w.reported[n] = true
	res := &broadcastReport{Number: n}
	for _, d := range b.deliveries {
		wait := d.at - b.at
		if b.at == 0 || wait > int64(w.Timeout) {
			res.Late++
			continue
		}
		if d.latency < 0 {
			res.Ahead++
		}
		w.clients[d.client].inTime++
		res.Samples = appendSample(res.Samples, d.latency, wait/1000)
	}
	w.send(report{Broadcast: res})
}

// sampleSize is the length of an encoded sample: latency and wait in microseconds.
const sampleSize = 8

func appendSample(b []byte, latency int32, wait int64) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(latency))
	return binary.LittleEndian.AppendUint32(b, uint32(max(0, wait)))
}

// samplesOf decodes the samples of a broadcastReport.
func samplesOf(b []byte) (latencies, waits []int32) {
	for ; len(b) >= sampleSize; b = b[sampleSize:] {
		latencies = append(latencies, int32(binary.LittleEndian.Uint32(b)))
		waits = append(waits, int32(binary.LittleEndian.Uint32(b[4:])))
	}
	return latencies, waits
}
