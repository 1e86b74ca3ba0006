package metrics_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/relay"
	"goranch/protocol/session"
	"goranch/ranch"
	"goranch/ranch/metrics"
	"goranch/transport"
	"goranch/transport/certs"
)

// echo echoes what it reads.
var echo = protocol.Func(func(_ context.Context, c *transport.Conn) error {
	_, err := io.Copy(c, c)
	return err
})

// start starts a listener, which is stopped when the test ends.
func start(t testing.TB, s *ranch.Server, ref string, tr transport.Transport, opts ranch.Options) *ranch.Listener {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	l, err := s.StartListener(ref, tr, opts, echo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() })
	return l
}

// connect returns a client whose connection is served.
func connect(t testing.TB, tr transport.Transport, l *ranch.Listener) net.Conn {
	t.Helper()
	nc, err := tr.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	got := make([]byte, 4)
	if _, err := nc.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != "ping" {
		t.Fatalf("got %q, %v, want ping", got, err)
	}
	return nc
}

// all are options with every figure.
func all() metrics.Options {
	return metrics.Options{
		Topics: func() map[string]pubsub.Stats {
			return map[string]pubsub.Stats{"topics": {Clients: 3, Dropped: 4, Slow: 5, Sessions: session.Stats{Detached: 6}}}
		},
		Sessions: func() map[string]session.Stats {
			return map[string]session.Stats{"shell": {Attached: 7, Expired: 8}, "topics": {Detached: 1000}}
		},
		Relays: func() map[string]relay.Stats {
			up := relay.UpstreamStats{Addr: "10.0.0.1:443", State: relay.Up, Live: 9, Total: 10, BytesSent: 11, BytesReceived: 12}
			up.Failed[relay.Reset] = 13
			return map[string]relay.Stats{"front": {Upstreams: []relay.UpstreamStats{up, {Addr: "10.0.0.2:443", State: relay.Out}}, NoneAvailable: 14}}
		},
		Cluster: func() metrics.Cluster {
			return metrics.Cluster{Ready: true, State: "ready", Nodes: map[string]int{"ready": 2, "gone": 1}, Missed: 16, Rejected: 17, Commands: 18, Brokers: map[string]metrics.Broker{"topics": {Connected: true, Gaps: 15}}}
		},
		Certificates: func() []certs.Certificate {
			pair := certs.Pair{Cert: "tls.crt"}
			return []certs.Certificate{
				{Pair: pair, Names: []string{"example.com"}, NotAfter: time.Unix(2000, 0)},
				{Pair: pair, Names: []string{"example.com"}, NotAfter: time.Unix(1000, 0)},
				{Pair: certs.Pair{Cert: "other.crt"}, NotAfter: time.Unix(3000, 0)},
			}
		},
		Reload:  func() (bool, time.Time) { return true, time.Unix(4000, 0) },
		Version: "v1.2.3",
	}
}

func gather(t testing.TB, s *ranch.Server, opts metrics.Options) map[string]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewCollector(s, opts))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// series returns the values of a family by the values of its labels, which are sorted by name.
func series(f *dto.MetricFamily) map[string]float64 {
	values := map[string]float64{}
	for _, m := range f.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		values[strings.Join(labels, "/")] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return values
}

func TestListener(t *testing.T) {
	var s ranch.Server
	tr := new(transport.Mem)
	l := start(t, &s, "a", tr, ranch.Options{Addr: "a", MaxConnections: 3})
	start(t, &s, "b", tr, ranch.Options{Addr: "b", MaxConnections: ranch.Unlimited})
	connect(t, tr, l)
	connect(t, tr, l).Close()
	if err := l.WaitForConnections(t.Context(), ranch.Equal, 1); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); l.Info().BytesWritten != 8 && time.Now().Before(end); {
		runtime.Gosched() // a client may receive data before it is counted
	}
	got := gather(t, &s, metrics.Options{})
	for name, want := range map[string]map[string]float64{
		"listener_up":                 {"a": 1, "b": 1},
		"connections_counted":         {"a": 1, "b": 0},
		"connections_limit":           {"a": 3, "b": math.Inf(1)},
		"connections_peak":            {"a": 2, "b": 0},
		"acceptors":                   {"a": 10, "b": 10},
		"connections_accepted_total":  {"a": 2, "b": 0},
		"accept_errors_total":         {"a": 0, "b": 0},
		"received_bytes_total":        {"a": 8, "b": 0},
		"sent_bytes_total":            {"a": 8, "b": 0},
		"accept_to_serve_seconds":     {"a": 2, "b": 0},
		"connection_duration_seconds": {"a": 1, "b": 0},
		"handshake_duration_seconds":  {"a": 0, "b": 0},
		"connections": {
			"a/ending": 0, "a/handshaking": 0, "a/parked": 0, "a/pending": 0, "a/serving": 1,
			"b/ending": 0, "b/handshaking": 0, "b/parked": 0, "b/pending": 0, "b/serving": 0,
		},
	} {
		if diff := cmp.Diff(want, series(got["goranch_"+name])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if n := series(got["goranch_connections_ended_total"])["a/finished"]; n != 1 {
		t.Errorf("got %v connections that ended as %q, want 1", n, conns.Finished)
	}
	if err := l.Suspend(); err != nil {
		t.Fatal(err)
	}
	if up := series(gather(t, &s, metrics.Options{})["goranch_listener_up"]); up["a"] != 0 || up["b"] != 1 {
		t.Errorf("a is suspended: got %v up, want only b", up)
	}
}

// Every reason has a series before a connection has ended.
func TestReasonsArePresentFromTheStart(t *testing.T) {
	var s ranch.Server
	start(t, &s, "a", new(transport.Mem), ranch.Options{Addr: "a"})
	ended, refused, failed := map[string]float64{}, map[string]float64{}, map[string]float64{}
	for i := range len(conns.Counters{}.Ended) {
		r := conns.Reason(i)
		ended["a/"+r.Error()] = 0
		if r.Refusal() {
			refused["a/"+r.Error()] = 0
		}
	}
	refused["a/"+conns.Banned.Error()] = 0
	for i := range len(conns.Counters{}.HandshakeFailures) {
		failed["a/"+conns.HandshakeFailure(i).String()] = 0
	}
	got := gather(t, &s, metrics.Options{})
	for name, want := range map[string]map[string]float64{
		"connections_ended_total": ended, "connections_refused_total": refused, "handshake_failures_total": failed,
	} {
		if diff := cmp.Diff(want, series(got["goranch_"+name])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(refused) < 4 || len(refused) >= len(ended) {
		t.Errorf("got %d reasons for which connections are refused, want some of %d", len(refused), len(ended))
	}
}

// Of the connections that end because of a ban, only those count as refused that were not served.
func TestBannedConnections(t *testing.T) {
	var s ranch.Server
	networks := new(conns.Networks)
	l := start(t, &s, "a", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Networks: networks})
	connect(t, transport.TCP{}, l)
	if err := networks.Add(conns.NetworkRule{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Deny: true}); err != nil {
		t.Fatal(err)
	}
	l.CloseBanned()
	for range 2 {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	for limit := time.Now().Add(time.Minute); l.Info().Reasons[conns.Banned] < 3; runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatalf("got %d banned connections after a minute, want 3", l.Info().Reasons[conns.Banned])
		}
	}
	got := gather(t, &s, metrics.Options{})
	for name, want := range map[string]float64{"connections_ended_total": 3, "connections_refused_total": 2} {
		if n := series(got["goranch_"+name])["a/banned"]; n != want {
			t.Errorf("%s: got %v banned, want %v", name, n, want)
		}
	}
}

func TestOtherFigures(t *testing.T) {
	got := gather(t, new(ranch.Server), all())
	for name, want := range map[string]map[string]float64{
		"topic_clients":                {"topics": 3},
		"topic_messages_dropped_total": {"queue full/topics": 4},
		"topic_clients_closed_total":   {"queue full/topics": 5, "refused request/topics": 0, "silent/topics": 0},
		"sessions":                     {"shell/attached": 7, "shell/detached": 0, "topics/attached": 0, "topics/detached": 6},
		"sessions_ended_total": {
			"ended/shell": 0, "evicted/shell": 0, "expired/shell": 8, "moved/shell": 0,
			"ended/topics": 0, "evicted/topics": 0, "expired/topics": 0, "moved/topics": 0,
		},
		"cluster_nodes":                           {"ready": 2, "gone": 1},
		"cluster_state":                           {"ready": 1, "gone": 0},
		"cluster_heartbeats_missed_total":         {"": 16},
		"cluster_messages_rejected_total":         {"": 17},
		"cluster_commands_total":                  {"": 18},
		"certificate_not_after_timestamp_seconds": {"tls.crt/example.com": 1000, "other.crt/": 3000},
		"config_last_reload_successful":           {"": 1},
		"config_last_reload_timestamp_seconds":    {"": 4000},
	} {
		if diff := cmp.Diff(want, series(got["goranch_"+name])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if build := got["goranch_build_info"].String(); !strings.Contains(build, "v1.2.3") {
		t.Errorf("build_info: got %s, want version v1.2.3", build)
	}
	if none := gather(t, new(ranch.Server), metrics.Options{}); len(none) != 1 {
		t.Errorf("without options and listeners: got %d metrics, want only build_info", len(none))
	}
}

// Names, help texts and units follow the conventions of Prometheus.
func TestLint(t *testing.T) {
	var s ranch.Server
	start(t, &s, "a", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0"})
	problems, err := testutil.CollectAndLint(metrics.NewCollector(&s, all()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: got the problem %q, want none", p.Metric, p.Text)
	}
}

// Each metric is described, and each description has a metric where the system reports all.
func TestDescriptions(t *testing.T) {
	var s ranch.Server
	l := start(t, &s, "a", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0"})
	got := gather(t, &s, all())
	for _, name := range names() {
		if got[name] == nil && !(strings.HasPrefix(name, "goranch_accept_queue") && l.Info().AcceptQueue < 0) {
			t.Errorf("got no metric %s, want one", name)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("got the metric %s, want a description of it", name)
	}
}

// names returns the names of all metrics.
func names() []string {
	var all []string
	for _, d := range metrics.Descriptions() {
		_, name, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ = strings.Cut(name, `"`)
		all = append(all, name)
	}
	return slices.Sorted(slices.Values(all))
}

// A name that is not UTF-8 or contains control characters does not fail the scrape, and two of them
// stay different.
func TestHostileNames(t *testing.T) {
	var s ranch.Server
	tr := new(transport.Mem)
	want := map[string]float64{}
	for i, c := range []struct{ name, label string }{
		{"a\xff", `a\xff`}, {"a\xfe", `a\xfe`}, {"a\n\"", "a\n\""}, {strings.Repeat("x", 1000), strings.Repeat("x", 1000)},
	} {
		start(t, &s, c.name, tr, ranch.Options{Addr: fmt.Sprint(i)})
		want[c.label] = 1
	}
	got := gather(t, &s, metrics.Options{
		Certificates: func() []certs.Certificate {
			return []certs.Certificate{{Pair: certs.Pair{Cert: "\xff"}, Names: []string{"\xfe"}}}
		},
		Topics:  func() map[string]pubsub.Stats { return map[string]pubsub.Stats{"\xff": {}} },
		Version: "\xff",
	})
	if diff := cmp.Diff(want, series(got["goranch_listener_up"])); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
}
