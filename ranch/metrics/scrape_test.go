package metrics_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"goranch/ranch"
	"goranch/ranch/metrics"
	"goranch/transport"
)

// startPrometheus starts a Prometheus that scrapes target every second, with the rules of deploy,
// and returns the URL of its API.
func startPrometheus(t *testing.T, target string) string {
	t.Helper()
	path, dir := program(t, "prometheus"), t.TempDir()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n"+
		"scrape_configs:\n- job_name: goranch\n  static_configs:\n  - targets: [%q]\n", rules, target)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	cmd := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--enable-feature=native-histograms")
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return "http://" + addr
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// query returns the first value of the result of a query; false if there is none yet.
func query(t *testing.T, api, expr string) (float64, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", api+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, false // it does not listen yet
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, false
	}
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if resp.StatusCode == http.StatusBadRequest {
		t.Fatalf("%s: got %s, want a result", expr, body)
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Data.Result) == 0 {
		return 0, false
	}
	v, err := strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v, true
}

// A real Prometheus scrapes all metrics, gets the histograms as native ones, and evaluates the
// rules.
func TestPrometheusScrapes(t *testing.T) {
	program(t, "prometheus")
	var s ranch.Server
	tr := new(transport.Mem)
	l := start(t, &s, "a", tr, ranch.Options{Addr: "a"})
	stopped := start(t, &s, "b", tr, ranch.Options{Addr: "b"})
	for range 3 {
		connect(t, tr, l)
	}
	if err := stopped.Suspend(); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(metrics.Handler(&s, all()))
	defer web.Close()
	api := startPrometheus(t, strings.TrimPrefix(web.URL, "http://"))
	for _, c := range []struct {
		expr string
		want float64
	}{
		{`goranch_connections{listener="a", state="serving"}`, 3},
		{`goranch_connections_ended_total{listener="a", reason="panicked"}`, 0},
		{`goranch_received_bytes_total{listener="a"}`, 12},
		{`count({__name__=~"goranch_.+"}) > bool 100`, 1},
		{`up{job="goranch"}`, 1},
		{`histogram_count(goranch_accept_to_serve_seconds{listener="a"})`, 3}, // a native histogram
		{`histogram_quantile(1, goranch_accept_to_serve_seconds{listener="a"}) > bool 0`, 1},
		{`count(ALERTS{alertname="GoranchListenerDown", listener="b"})`, 1},
	} {
		var got float64
		var ok bool
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if got, ok = query(t, api, c.expr); ok && got == c.want {
				break
			}
		}
		if !ok || got != c.want {
			t.Errorf("%s: got %v, %v, want %v", c.expr, got, ok, c.want)
		}
	}
}

// The handler answers in the text format with classic buckets, and refuses nothing else.
func TestHandler(t *testing.T) {
	var s ranch.Server
	start(t, &s, "a", new(transport.Mem), ranch.Options{Addr: "a"})
	for _, c := range []struct {
		opts metrics.Options
		want []string
		not  string
	}{
		{metrics.Options{}, []string{`goranch_handshake_duration_seconds_bucket{listener="a",le="1"} 0`, `goranch_listener_up{listener="a"} 1`}, "go_goroutines"},
		{metrics.Options{Runtime: true}, []string{"go_goroutines", `goranch_listener_up{listener="a"} 1`}, "go_nothing"},
	} {
		w := httptest.NewRecorder()
		metrics.Handler(&s, c.opts).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), c.not) {
			t.Errorf("got the status %d and %s, want 200 without %s", w.Code, w.Body, c.not)
		}
		for _, want := range c.want {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("got %s, want it to contain %s", w.Body, want)
			}
		}
	}
}

// BenchmarkScrape scrapes a listener with 10,000 live connections.
func BenchmarkScrape(b *testing.B) {
	var s ranch.Server
	tr := new(transport.Mem)
	l := start(b, &s, "a", tr, ranch.Options{Addr: "a", MaxConnections: ranch.Unlimited})
	for range 10_000 {
		nc, err := tr.Dial(b.Context(), "a")
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
	}
	if err := l.WaitForConnections(b.Context(), ranch.Equal, 10_000); err != nil {
		b.Fatal(err)
	}
	h := metrics.Handler(&s, metrics.Options{})
	for _, accept := range []string{"text/plain", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
		b.Run(strings.Split(accept, ";")[0], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req := httptest.NewRequest("GET", "/metrics", nil)
				req.Header.Set("Accept", accept)
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, req); w.Code != http.StatusOK {
					b.Fatalf("got the status %d, want 200", w.Code)
				}
			}
		})
	}
}
