// Package metrics exports the figures of a server's listeners to Prometheus.
//
//	http.Handle("/metrics", metrics.Handler(ranch.Default, metrics.Options{}))
//
// A program with a registry of its own registers a [Collector] instead. The page docs/metrics.md
// lists all metrics; their names begin with "goranch_".
//
// Figures are read from the listeners when they are scraped: nothing is counted twice, a connection
// costs nothing more, and a listener needs no registration. Label values are names of listeners and
// of servers, upstreams, states, reasons, and names of certificates, never a peer, a user or a
// topic, so the number of series does not depend on clients. Every reason has a series from the
// start.
//
// Times are exported both as classic histograms and as native ones with the same observations; a
// Prometheus that is configured for native histograms uses these.
package metrics

import (
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"goranch/protocol/pubsub"
	"goranch/protocol/relay"
	"goranch/protocol/session"
	"goranch/ranch"
	"goranch/transport/certs"
)

// Options select the figures besides those of listeners. The functions are called at each scrape,
// by several goroutines at once; metrics of those that are nil are absent.
type Options struct {
	// Topics returns the figures of topic servers by name, those of their sessions included.
	Topics func() map[string]pubsub.Stats
	// Sessions returns the figures of other session managers by name. Those of a name that Topics
	// has, too, are left out.
	Sessions func() map[string]session.Stats
	// Relays returns the figures of relays by name.
	Relays func() map[string]relay.Stats
	// Cluster returns the figures of this node of a cluster.
	Cluster func() Cluster
	// Certificates returns the certificates in use, such as certs.Store.Certificates.
	Certificates func() []certs.Certificate
	// Reload reports whether the last attempt to load the configuration, at the given time, was
	// successful.
	Reload func() (successful bool, at time.Time)
	// Version is the version of the program. "" is that of its main module.
	Version string
	// Runtime adds the metrics of the Go runtime and of the process to those of [Handler]: "go_…"
	// and "process_…". Collectors do not have them.
	Runtime bool
}

// Collector is a prometheus.Collector for all listeners of a server. Its methods may be called from
// any goroutine.
type Collector struct {
	server *ranch.Server
	opts   Options
	build  prometheus.Metric
}

// NewCollector returns a collector for the listeners of s, also those that are started later.
func NewCollector(s *ranch.Server, opts Options) *Collector {
	version, revision, goVersion := opts.Version, "", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
		if version == "" {
			version = info.Main.Version
		}
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				revision = setting.Value
			}
		}
	}
	return &Collector{
		server: s, opts: opts,
		build: prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, label(version), revision, goVersion),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	to <- c.build
	for _, l := range c.server.Listeners() {
		collectListener(to, l)
	}
	seen := map[string]bool{}
	if c.opts.Topics != nil {
		for name, st := range c.opts.Topics() {
			seen[name] = true
			collectTopics(to, label(name), st)
		}
	}
	if c.opts.Sessions != nil {
		for name, st := range c.opts.Sessions() {
			if !seen[name] {
				collectSessions(to, label(name), st)
			}
		}
	}
	if c.opts.Relays != nil {
		for name, st := range c.opts.Relays() {
			collectRelay(to, label(name), st)
		}
	}
	if c.opts.Cluster != nil {
		collectCluster(to, c.opts.Cluster())
	}
	if c.opts.Certificates != nil {
		collectCertificates(to, c.opts.Certificates())
	}
	if c.opts.Reload != nil {
		ok, at := c.opts.Reload()
		gauge(to, configReload, flag(ok))
		if !at.IsZero() {
			gauge(to, configReloadTime, float64(at.UnixMilli())/1000)
		}
	}
}

// descriptions are those of all metrics, in the order of their declaration.
var descriptions []*prometheus.Desc

func describe(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("goranch_"+name, help, labels, nil)
	descriptions = append(descriptions, d)
	return d
}

var (
	buildInfo = describe("build_info",
		"The version of the program; the value is always 1.", "version", "revision", "goversion")
	configReload = describe("config_last_reload_successful",
		"Whether the last attempt to load the configuration was successful.")
	configReloadTime = describe("config_last_reload_timestamp_seconds",
		"Time of the last attempt to load the configuration.")
)

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(to chan<- prometheus.Metric, d *prometheus.Desc, v uint64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// label returns a name as a label value, which must be valid UTF-8: one bad name would fail the
// whole scrape. Other bytes are escaped, so that different names stay different.
func label(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strings.Trim(strconv.Quote(name), `"`)
}
