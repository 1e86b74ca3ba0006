package metrics

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"goranch/conns"
	"goranch/ranch"
)

var (
	listenerUp = describe("listener_up",
		"Whether the listener accepts connections.", "listener")
	connections = describe("connections",
		"Open connections by state.", "listener", "state")
	connectionsUnestablished = describe("connections_unestablished",
		"Connections in the login phase; 0 unless it is limited.", "listener")
	connectionsCounted = describe("connections_counted",
		"Connections that have a slot of the cap.", "listener")
	connectionsLimit = describe("connections_limit",
		"The cap, +Inf if there is none.", "listener")
	connectionsPeak = describe("connections_peak",
		"Highest number of connections that had a slot of the cap.", "listener")
	acceptors = describe("acceptors",
		"Acceptors of the listener.", "listener")
	acceptorsWaiting = describe("acceptors_waiting",
		"Acceptors that wait for a slot of the cap.", "listener")
	acceptQueueLength = describe("accept_queue_length",
		"Connections in the kernel that wait to be accepted; TCP on Linux only.", "listener")
	acceptQueueLimit = describe("accept_queue_limit",
		"Connections that may wait in the kernel to be accepted; TCP on Linux only.", "listener")

	connectionsAccepted = describe("connections_accepted_total",
		"Connections that were accepted.", "listener")
	connectionsEnded = describe("connections_ended_total",
		"Connections that have ended, by reason, refused ones included.", "listener", "reason")
	connectionsRefused = describe("connections_refused_total",
		"Connections that were refused, by reason.", "listener", "reason")
	handshakeFailures = describe("handshake_failures_total",
		"Connections that ended before their protocol was called and were not refused, by cause.", "listener", "reason")
	acceptErrors = describe("accept_errors_total",
		"Failed calls of accept.", "listener")
	receivedBytes = describe("received_bytes_total",
		"Payload received, of live and of ended connections.", "listener")
	sentBytes = describe("sent_bytes_total",
		"Payload sent, of live and of ended connections.", "listener")

	handshakeDuration = describe("handshake_duration_seconds",
		"Time of completed handshakes; transports without one are not counted.", "listener")
	acceptToServe = describe("accept_to_serve_seconds",
		"Time from accept until the protocol was called.", "listener")
	connectionDuration = describe("connection_duration_seconds",
		"Time from accept until the end, of connections whose protocol was called.", "listener")
)

// Buckets of the classic histograms, as powers of two in seconds.
var (
	handshakeBuckets  = powers{-11, 5, 1}  // 0.5 ms to 32 s
	waitBuckets       = powers{-16, 6, 2}  // 15 µs to 64 s
	connectionBuckets = powers{-10, 20, 2} // 1 ms to 12 days
)

func collectListener(to chan<- prometheus.Metric, l *ranch.Listener) {
	i, name := l.Info(), label(l.Ref())
	gauge(to, listenerUp, flag(i.Status == ranch.Running), name)
	for state, n := range map[string]int{
		"pending": i.PendingConnections, "handshaking": i.Handshaking, "serving": i.Serving,
		"parked": i.Parked, "ending": i.Ending,
	} {
		gauge(to, connections, float64(n), name, state)
	}
	gauge(to, connectionsUnestablished, float64(i.Unestablished), name)
	gauge(to, connectionsCounted, float64(i.ActiveConnections), name)
	limit := math.Inf(1)
	if i.MaxConnections != ranch.Unlimited {
		limit = float64(i.MaxConnections)
	}
	gauge(to, connectionsLimit, limit, name)
	gauge(to, connectionsPeak, float64(i.PeakConnections), name)
	gauge(to, acceptors, float64(i.NumAcceptors), name)
	gauge(to, acceptorsWaiting, float64(i.WaitingAcceptors), name)
	if i.AcceptQueue >= 0 {
		gauge(to, acceptQueueLength, float64(i.AcceptQueue), name)
		gauge(to, acceptQueueLimit, float64(i.AcceptQueueLimit), name)
	}
	counter(to, connectionsAccepted, i.Accepted, name)
	collectReasons(to, &i, name)
	counter(to, acceptErrors, i.AcceptErrors, name)
	counter(to, receivedBytes, i.BytesRead, name)
	counter(to, sentBytes, i.BytesWritten, name)
	d := l.Durations()
	to <- newHistogram(handshakeDuration, &d.Handshake, handshakeBuckets, name)
	to <- newHistogram(acceptToServe, &d.Wait, waitBuckets, name)
	to <- newHistogram(connectionDuration, &d.Connection, connectionBuckets, name)
}

// collectReasons exports all reasons, also those for which no connection has ended: a series that
// begins with 1 would hide the first one from rate and increase.
func collectReasons(to chan<- prometheus.Metric, i *ranch.ListenerInfo, name string) {
	banned := i.Refused // without those that were closed by a ban after they were served
	for n := range len(conns.Counters{}.Ended) {
		r := conns.Reason(n)
		counter(to, connectionsEnded, i.Reasons[r], name, r.Error())
		if r.Refusal() {
			counter(to, connectionsRefused, i.Reasons[r], name, r.Error())
			banned -= i.Reasons[r]
		}
	}
	counter(to, connectionsRefused, banned, name, conns.Banned.Error())
	for n := range len(conns.Counters{}.HandshakeFailures) {
		f := conns.HandshakeFailure(n)
		counter(to, handshakeFailures, i.HandshakeFailures[f], name, f.String())
	}
}
