package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each workload of a claim has at least two of the claim's engines, one of which is the base.
func TestClaimsAreConsistent(t *testing.T) {
	for _, c := range claims {
		opts, err := parseOptions(c.args(), io.Discard)
		if err != nil {
			t.Errorf("claim %s: got error %v, want none", c.name, err)
			continue
		}
		for _, w := range opts.works {
			var names []string
			for _, e := range enginesFor(w, opts.engines) {
				names = append(names, e.name)
			}
			found := false
			for _, base := range w.bases {
				found = found || strings.Contains(" "+strings.Join(names, " ")+" ", " "+base+" ")
			}
			if len(names) < 2 || !found {
				t.Errorf("claim %s, %s: got engines %v, want two or more, and one of %v", c.name, w.name, names, w.bases)
			}
		}
	}
}

// testReport returns results of the workload churn: the handler costs more, and ranch was not
// there.
func testReport() report {
	var samples []sample
	for round, noise := range []float64{0, 0.1, -0.1, 0.05} {
		samples = append(samples,
			sample{Workload: "churn", Engine: "bare", Round: round, Value: 20 + noise, OpsPerSec: 40_000},
			sample{Workload: "churn", Engine: "goranch-handler", Round: round, Value: 22 - noise, OpsPerSec: 39_000},
			sample{Workload: "churn", Engine: "gnet", Round: round, Value: 20 + 20*noise, OpsPerSec: 41_000})
	}
	works, _ := selectWorkloads([]string{"churn"})
	rep := report{Date: "2026-01-02T03:04:05Z", Go: "go1.26", Kernel: "6.1", CPU: "a processor", Rig: rigReport{Rounds: 4}, Skipped: []string{"ranch: install it"}}
	rep.add(summarize(works[0], samples), samples)
	return rep
}

func TestPublishRenders(t *testing.T) {
	dir := t.TempDir()
	o := publishOptions{docs: filepath.Join(dir, "page.md"), results: dir}
	if err := os.WriteFile(o.docs, []byte("before\n"+docsBegin+"old\n"+docsEnd+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	rep := testReport()
	if err := rep.write(filepath.Join(dir, "churn.json")); err != nil {
		t.Fatal(err)
	}
	var first string
	for range 2 { // the second run changes nothing
		if err := o.write(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(o.docs)
		if err != nil {
			t.Fatal(err)
		}
		if first != "" && first != string(text) {
			t.Errorf("got another page from the same results:\n%s", text)
		}
		first = string(text)
	}
	for _, want := range []string{
		"before\n" + docsBegin, docsEnd + "after\n", "(page/churn.svg)", "go run . publish --claims churn",
		"| bare | 20.02 | 1 | | |", "| goranch-handler | 21.98 | 1.09", " | more | 39000 |", " | no difference | 41000 |",
		"Measured on 2026-01-02, a processor, Linux 6.1, go1.26, 4 rounds.", "Not measured: ranch: install it.",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("got page\n%s\nwant it to contain %q", first, want)
		}
	}
	if strings.Contains(first, "old") {
		t.Errorf("got page\n%s\nwant no text from before between the marks", first)
	}
	if _, err := os.Stat(filepath.Join(dir, "page", "churn.svg")); err != nil {
		t.Errorf("plot: got error %v, want a file", err)
	}
}

func TestPublishNeedsMarks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(file, []byte("no marks\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := splitDocs(file); err == nil || !strings.Contains(err.Error(), "has no lines") {
		t.Errorf("got error %v, want one about the marks", err)
	}
}

// Results with ratios of an older format are computed again.
func TestReadReportSummarizesAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "old.json")
	rep := testReport()
	want := rep.Results[0].Engines[1].Ratios["bare"]
	rep.Results[0].Engines[1].Ratios["bare"] = ratio{}
	if err := rep.write(file); err != nil {
		t.Fatal(err)
	}
	got, err := readReport(file)
	if err != nil || got.Results[0].Engines[1].Ratios["bare"] != want {
		t.Errorf("got %+v, error %v; want ratio %+v", got.Results, err, want)
	}
	if want.Low < 1.05 || want.High > 1.15 {
		t.Errorf("got interval %v to %v, want it around 1.1", want.Low, want.High)
	}
}
