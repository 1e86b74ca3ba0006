package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"goranch/protocol/pubsub"
	"goranch/protocol/relay"
	"goranch/protocol/session"
	"goranch/transport/certs"
)

var (
	topics = describe("topics",
		"Topics and patterns.", "server")
	topicClients = describe("topic_clients",
		"Connected clients of a topic server.", "server")
	topicPublished = describe("topic_messages_published_total",
		"Messages that were published.", "server")
	topicDelivered = describe("topic_messages_delivered_total",
		"Messages that were delivered to a subscriber, or buffered for its session.", "server")
	topicDropped = describe("topic_messages_dropped_total",
		"Messages that were not delivered to a subscriber, by reason.", "server", "reason")
	topicClientsClosed = describe("topic_clients_closed_total",
		"Clients that the topic server has closed, by reason.", "server", "reason")

	sessions = describe("sessions",
		"Sessions by state.", "server", "state")
	sessionsCreated = describe("sessions_created_total",
		"Sessions that were created.", "server")
	sessionsLoaded = describe("sessions_loaded_total",
		"Sessions that were loaded from the store at the start.", "server")
	sessionsResumed = describe("sessions_resumed_total",
		"Sessions that were resumed by a new connection.", "server")
	sessionsTakenOver = describe("sessions_taken_over_total",
		"Sessions that a new connection has taken from another one.", "server")
	sessionsEnded = describe("sessions_ended_total",
		"Sessions that have ended here, by reason.", "server", "reason")
	sessionsRefused = describe("sessions_refused_total",
		"Attempts to create or resume a session that were refused.", "server")
	sessionDropped = describe("session_output_dropped_bytes_total",
		"Output for detached sessions that was dropped, by reason.", "server", "reason")
	sessionStoreErrors = describe("session_store_errors_total",
		"Errors of the store of sessions.", "server")

	upstreamUp = describe("upstream_up",
		"Whether connections can be forwarded to the upstream, unless it has its maximum of connections.", "relay", "upstream")
	upstreamConnections = describe("upstream_connections",
		"Open connections to the upstream.", "relay", "upstream")
	upstreamConnectionsTotal = describe("upstream_connections_total",
		"Connections to the upstream that were established.", "relay", "upstream")
	upstreamFailures = describe("upstream_failures_total",
		"Failed attempts to connect to the upstream and connections that it has broken, by reason.", "relay", "upstream", "reason")
	upstreamSent = describe("upstream_sent_bytes_total",
		"Payload sent to the upstream.", "relay", "upstream")
	upstreamReceived = describe("upstream_received_bytes_total",
		"Payload received from the upstream.", "relay", "upstream")
	relayUnavailable = describe("relay_unavailable_total",
		"Connections for which no upstream was available.", "relay")

	certificateNotAfter = describe("certificate_not_after_timestamp_seconds",
		"Time until which a certificate and its chain are valid.", "name", "file")
)

func collectTopics(to chan<- prometheus.Metric, name string, st pubsub.Stats) {
	gauge(to, topics, float64(st.Topics), name)
	gauge(to, topicClients, float64(st.Clients), name)
	counter(to, topicPublished, st.Published, name)
	counter(to, topicDelivered, st.Delivered, name)
	counter(to, topicDropped, st.Dropped, name, "queue full")
	counter(to, topicClientsClosed, st.Refused, name, "refused request")
	counter(to, topicClientsClosed, st.Slow, name, "queue full")
	counter(to, topicClientsClosed, st.Silent, name, "silent")
	collectSessions(to, name, st.Sessions)
}

func collectSessions(to chan<- prometheus.Metric, name string, st session.Stats) {
	gauge(to, sessions, float64(st.Attached), name, "attached")
	gauge(to, sessions, float64(st.Detached), name, "detached")
	counter(to, sessionsCreated, st.Created, name)
	counter(to, sessionsLoaded, st.Loaded, name)
	counter(to, sessionsResumed, st.Resumed, name)
	counter(to, sessionsTakenOver, st.TakenOver, name)
	counter(to, sessionsEnded, st.Ended, name, "ended")
	counter(to, sessionsEnded, st.Expired, name, "expired")
	counter(to, sessionsEnded, st.Evicted, name, "evicted")
	counter(to, sessionsEnded, st.Moved, name, "moved")
	counter(to, sessionsRefused, st.Refused, name)
	counter(to, sessionDropped, st.OutputDropped, name, "buffer full")
	counter(to, sessionStoreErrors, st.StoreErrors, name)
}

func collectRelay(to chan<- prometheus.Metric, name string, st relay.Stats) {
	for _, u := range st.Upstreams {
		addr := label(u.Addr)
		gauge(to, upstreamUp, flag(u.State == relay.Up || u.State == relay.Full), name, addr)
		gauge(to, upstreamConnections, float64(u.Live), name, addr)
		counter(to, upstreamConnectionsTotal, u.Total, name, addr)
		for _, f := range relay.Failures {
			counter(to, upstreamFailures, u.Failed[f], name, addr, f.String())
		}
		counter(to, upstreamSent, u.BytesSent, name, addr)
		counter(to, upstreamReceived, u.BytesReceived, name, addr)
	}
	counter(to, relayUnavailable, st.NoneAvailable, name)
}

// collectCertificates exports the earliest end of the certificates of each name and file: several
// stores may use one file.
func collectCertificates(to chan<- prometheus.Metric, all []certs.Certificate) {
	type key struct{ name, file string }
	ends := map[key]float64{}
	for _, c := range all {
		k := key{file: label(c.Cert)}
		if len(c.Names) > 0 {
			k.name = label(c.Names[0])
		}
		end := float64(c.NotAfter.Unix())
		if old, seen := ends[k]; !seen || end < old {
			ends[k] = end
		}
	}
	for k, end := range ends {
		gauge(to, certificateNotAfter, end, k.name, k.file)
	}
}
