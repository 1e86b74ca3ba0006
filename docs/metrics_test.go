package docs

import (
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/relay"
	"goranch/ranch"
	"goranch/ranch/metrics"
	"goranch/transport"
	"goranch/transport/certs"
)

// The tables of metrics list each metric with its type and labels, and no other.
func TestMetricsListsAllMetrics(t *testing.T) {
	listed := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `(goranch_\\w+)` \\| (\\w+) \\| ([^|]*) ?\\| ")
	for _, m := range row.FindAllStringSubmatch(read(t, "metrics.md"), -1) {
		listed[m[1]] = strings.TrimSpace(m[2] + " " + strings.TrimSpace(m[3]))
	}
	var s ranch.Server
	opts := ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}
	l, err := s.StartListener("a", transport.TCP{}, opts, protocol.Func(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.NewCollector(&s, metrics.Options{
		Topics: func() map[string]pubsub.Stats { return map[string]pubsub.Stats{"topics": {}} },
		Relays: func() map[string]relay.Stats {
			return map[string]relay.Stats{"a": {Upstreams: make([]relay.UpstreamStats, 1)}}
		},
		Cluster: func() metrics.Cluster {
			return metrics.Cluster{Nodes: map[string]int{"ready": 1}, Brokers: map[string]metrics.Broker{"topics": {}}}
		},
		Certificates: func() []certs.Certificate { return make([]certs.Certificate, 1) },
		Reload:       func() (bool, time.Time) { return true, time.Unix(1, 0) },
	}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]string{}
	for _, f := range families {
		var labels []string
		for _, pair := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, pair.GetName())
		}
		exported[f.GetName()] = strings.TrimSpace(strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ", "))
	}
	if l.Info().AcceptQueue < 0 {
		exported["goranch_accept_queue_length"], exported["goranch_accept_queue_limit"] = "gauge listener", "gauge listener"
	}
	if diff := cmp.Diff(exported, listed); diff != "" {
		t.Errorf("metrics.md (-exported +listed):\n%s", diff)
	}
}

// The table of causes lists each cause for which a handshake can fail.
func TestMetricsListsAllHandshakeFailures(t *testing.T) {
	_, table, ok := strings.Cut(read(t, "metrics.md"), "| reason | meaning |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !ok {
		t.Fatal("metrics.md: got no table of causes, want one")
	}
	var listed, want []string
	for row := range strings.SplitSeq(table, "\n") {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		listed = append(listed, cell)
	}
	for i := range len(conns.Counters{}.HandshakeFailures) {
		want = append(want, conns.HandshakeFailure(i).String())
	}
	slices.Sort(want)
	slices.Sort(listed)
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("metrics.md (-code +listed):\n%s", diff)
	}
}
