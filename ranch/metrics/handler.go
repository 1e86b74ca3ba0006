package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"goranch/ranch"
)

const (
	// maxScrapes is how many scrapes are answered at once; others get the status 503.
	maxScrapes = 4
	// scrapeTimeout is the time for a scrape, as that of Prometheus.
	scrapeTimeout = 10 * time.Second
)

// Handler returns a handler for the metrics of s, in a registry of its own. Who may use it is the
// task of the server that calls it. A Prometheus that asks for the protocol buffer format gets the
// native histograms.
func Handler(s *ranch.Server, opts Options) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(s, opts))
	if opts.Runtime {
		registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // one bad figure does not hide the others
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	})
}
