package metrics_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"goranch/conns"
	"goranch/protocol/relay"
	"goranch/ranch/metrics"
)

const (
	rulesFile     = "../../deploy/prometheus/alerts.yml"
	dashboardFile = "../../deploy/grafana/goranch.json"
)

// dashboard is the part of a Grafana dashboard that these tests use.
type dashboard struct {
	Panels []struct {
		ID      int
		Title   string
		Type    string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(readFile(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// expressions returns the expressions of the dashboard, with values for its variables.
func (d dashboard) expressions() []string {
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h",
		"$job", ".*", "$instance", ".*", "$listener", ".*")
	var all []string
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, variables.Replace(target.Expr))
		}
	}
	return all
}

// labelsOf returns the labels of each metric, by name. Those of Prometheus are added.
func labelsOf() map[string][]string {
	found := map[string][]string{}
	list := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
	for _, d := range metrics.Descriptions() {
		m := list.FindStringSubmatch(d.String())
		found[m[1]] = append(strings.Split(m[2], ","), "job", "instance", "le")
	}
	return found
}

var (
	selector = regexp.MustCompile(`(goranch_\w+)(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*[=!]~?\s*"([^"]*)"`)
	suffix   = regexp.MustCompile(`_(bucket|count|sum)$`)
)

// checkExpression returns the names, labels and reasons in text that no metric has.
func checkExpression(text string) (wrong []string) {
	labels := labelsOf()
	reasons := reasonNames()
	for _, m := range selector.FindAllStringSubmatch(text, -1) {
		name := m[1]
		if _, ok := labels[name]; !ok {
			name = suffix.ReplaceAllString(name, "")
		}
		if _, ok := labels[name]; !ok {
			wrong = append(wrong, m[1])
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(labels[name], l[1]) {
				wrong = append(wrong, name+" with "+l[1])
			}
			if l[1] != "reason" {
				continue
			}
			for value := range strings.SplitSeq(l[2], "|") {
				if !slices.Contains(reasons, value) {
					wrong = append(wrong, name+" with the reason "+value)
				}
			}
		}
	}
	return wrong
}

func reasonNames() []string {
	all := []string{"queue full", "buffer full", "refused request", "silent"}
	for i := range len(conns.Counters{}.Ended) {
		all = append(all, conns.Reason(i).Error())
	}
	for i := range len(conns.Counters{}.HandshakeFailures) {
		all = append(all, conns.HandshakeFailure(i).String())
	}
	for _, f := range relay.Failures {
		all = append(all, f.String())
	}
	return all
}

// The rules and the dashboard use metrics, labels and reasons that exist, and the dashboard shows
// all but a few metrics.
func TestRulesAndDashboardUseMetricsThatExist(t *testing.T) {
	d := readDashboard(t)
	shown := strings.Join(d.expressions(), "\n")
	texts := map[string]string{dashboardFile: shown, rulesFile: readFile(t, rulesFile), "alerts_test.yml": readFile(t, filepath.Dir(rulesFile)+"/alerts_test.yml")}
	for _, v := range d.Templating.List {
		texts["variable "+v.Name] = v.Definition
	}
	for _, file := range slices.Sorted(maps.Keys(texts)) {
		for _, w := range checkExpression(texts[file]) {
			t.Errorf("%s: got %s, want what a metric has", file, w)
		}
	}
	for _, name := range names() {
		switch name {
		case "goranch_connections_peak", "goranch_sessions_loaded_total", "goranch_session_output_dropped_bytes_total",
			"goranch_session_store_errors_total", "goranch_config_last_reload_timestamp_seconds":
		default:
			if !strings.Contains(shown, name) {
				t.Errorf("the dashboard does not show %s, want it", name)
			}
		}
	}
	for _, wrong := range []string{`goranch_nothing`, `goranch_acceptors{name="a"}`, `goranch_connections_ended_total{reason=~"panicked|bored"}`} {
		if len(checkExpression(wrong)) != 1 {
			t.Errorf("%s: got no error, want one", wrong)
		}
	}
}

func TestDashboardLayout(t *testing.T) {
	d := readDashboard(t)
	seen, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if seen[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q: got a second one of that id, no title or no target, want them", p.ID, p.Title)
		}
		seen[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if cells[[2]int{x, y}] != "" || x >= 24 {
					t.Fatalf("panel %q: got a place over %q or the edge, want one of its own", p.Title, cells[[2]int{x, y}])
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
}

// program returns the path of a program of Prometheus, and skips the test if it is not installed.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed; install it with: apt-get install prometheus", name)
	}
	return path
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: got %v, want no error:\n%s", strings.Join(cmd.Args, " "), err, out)
	}
}

// promtool accepts the rules, the configuration and the expressions of the dashboard. Each alert
// fires in trouble, and does not otherwise.
func TestPromtool(t *testing.T) {
	promtool := program(t, "promtool")
	dir := filepath.Dir(rulesFile)
	run(t, dir, promtool, "check", "rules", "alerts.yml")
	run(t, dir, promtool, "check", "config", "prometheus.yml")
	run(t, dir, promtool, "test", "rules", "alerts_test.yml")
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, e := range readDashboard(t).expressions() {
		fmt.Fprintf(&rules, "  - record: dashboard:%d\n    expr: %q\n", i, e)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, promtool, "check", "rules", file)
}

// Each alert has a test and a section in the documentation.
func TestAlertsAreTestedAndDescribed(t *testing.T) {
	tests, page := readFile(t, filepath.Dir(rulesFile)+"/alerts_test.yml"), readFile(t, "../../docs/metrics.md")
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(readFile(t, rulesFile), -1)
	if len(alerts) == 0 {
		t.Fatal("got no alerts, want some")
	}
	for _, m := range alerts {
		if !strings.Contains(tests, "alertname: "+m[1]+"\n        exp_alerts") {
			t.Errorf("alert %s: got no test in which it fires, want one", m[1])
		}
		if !strings.Contains(page, "`"+m[1]+"`") {
			t.Errorf("alert %s: got no row in docs/metrics.md, want one", m[1])
		}
	}
}
