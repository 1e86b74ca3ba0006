package metrics

import "github.com/prometheus/client_golang/prometheus"

// Cluster holds the figures of a node of a cluster. Each node is scraped separately: of other nodes
// it exports only the states.
type Cluster struct {
	Ready    bool
	State    string         // of this node, a key of Nodes
	Nodes    map[string]int // known nodes by state, including this one; each key has a series
	Missed   uint64         // heartbeats of other nodes that were not received
	Rejected uint64         // messages of other nodes that were not valid
	Commands uint64         // commands that ran for operators at other nodes
	// Brokers are the figures of the brokers of topic servers, by the names of these.
	Brokers map[string]Broker
}

// Broker holds the figures of a broker, such as natsbroker.Stats.
type Broker struct {
	Connected                  bool
	Reconnects, Slow           uint64
	Gaps, Filled, Lost, Missed uint64
}

var (
	clusterReady = describe("cluster_ready",
		"Whether the cluster can serve topics and sessions without restrictions.")
	clusterNodes = describe("cluster_nodes",
		"Nodes as this one sees them, with this one, by state.", "state")
	clusterState = describe("cluster_state",
		"State of this node: 1 for the current state, otherwise 0.", "state")
	clusterMissed = describe("cluster_heartbeats_missed_total",
		"Heartbeats of other nodes that were not received.")
	clusterRejected = describe("cluster_messages_rejected_total",
		"Heartbeats and requests of other nodes that were not valid, or of too many nodes.")
	clusterCommands = describe("cluster_commands_total",
		"Commands that ran for operators at other nodes.")
	brokerConnected = describe("broker_connected",
		"Whether the broker of a topic server is connected.", "server")
	brokerReconnects = describe("broker_reconnects_total",
		"Connections of the broker after the first.", "server")
	brokerSlow = describe("broker_slow_total",
		"Events of a full queue between the broker and the topic server.", "server")
	brokerGaps = describe("broker_gaps_total",
		"Gaps of ordered topics that were found.", "server")
	brokerFilled = describe("broker_filled_messages_total",
		"Messages with which gaps were filled.", "server")
	brokerLost = describe("broker_gaps_lost_total",
		"Gaps that could not be filled, and were announced to subscribers with positions.", "server")
	brokerMissed = describe("broker_missed_messages_total",
		"Messages of other topics that were lost.", "server")
)

func collectCluster(to chan<- prometheus.Metric, c Cluster) {
	gauge(to, clusterReady, flag(c.Ready))
	for s, n := range c.Nodes {
		gauge(to, clusterNodes, float64(n), s)
		gauge(to, clusterState, flag(s == c.State), s)
	}
	counter(to, clusterMissed, c.Missed)
	counter(to, clusterRejected, c.Rejected)
	counter(to, clusterCommands, c.Commands)
	for name, b := range c.Brokers {
		name = label(name)
		gauge(to, brokerConnected, flag(b.Connected), name)
		counter(to, brokerReconnects, b.Reconnects, name)
		counter(to, brokerSlow, b.Slow, name)
		counter(to, brokerGaps, b.Gaps, name)
		counter(to, brokerFilled, b.Filled, name)
		counter(to, brokerLost, b.Lost, name)
		counter(to, brokerMissed, b.Missed, name)
	}
}
