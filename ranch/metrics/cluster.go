package metrics

import "github.com/prometheus/client_golang/prometheus"

// Cluster holds the figures of a node of a cluster.
type Cluster struct {
	Ready bool
	Nodes int // that are connected, with this one; 0 if that is not known
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
		"Whether the cluster can keep its promises for topics and sessions.")
	clusterNodes = describe("cluster_nodes",
		"Connected nodes, with this one.")
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
		"Gaps that could not be filled, which subscribers with positions were told.", "server")
	brokerMissed = describe("broker_missed_messages_total",
		"Messages of other topics that were lost.", "server")
)

func collectCluster(to chan<- prometheus.Metric, c Cluster) {
	gauge(to, clusterReady, flag(c.Ready))
	if c.Nodes > 0 {
		gauge(to, clusterNodes, float64(c.Nodes))
	}
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
