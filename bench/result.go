package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// result summarizes all rounds of one workload.
type result struct {
	Workload string         `json:"workload"`
	About    string         `json:"about"`
	Metric   string         `json:"metric"` // of Value and Ratios; lower is better
	Engines  []engineResult `json:"engines"`
	Failed   []string       `json:"failed,omitempty"`
	work     workload
}

// engineResult summarizes all rounds of one engine that did not fail.
type engineResult struct {
	Engine     string           `json:"engine"`
	Rounds     int              `json:"rounds"`
	Value      spread           `json:"value"`
	Ratios     map[string]ratio `json:"ratios"` // by base engine; divided within each round
	OpsPerSec  spread           `json:"ops_per_second,omitzero"`
	ServerCore spread           `json:"server_core_share,omitzero"`
	LoadCore   spread           `json:"generator_core_share,omitzero"`
	Others     spread           `json:"others_cores,omitzero"`
	P90        spread           `json:"p90_us,omitzero"`
	CPUPerOp   spread           `json:"cpu_us_per_delivery,omitzero"`
	MemBytes   spread           `json:"bytes_per_member,omitzero"`
	MaxServed  int              `json:"max_served,omitzero"`
	Resets     int              `json:"resets"`
	// More are the figures of the columns of the workload, by name.
	More map[string]spread `json:"more,omitempty"`
}

// summarize computes medians, ranges and ratios from the rounds of one workload.
func summarize(w workload, samples []sample) result {
	res := result{Workload: w.name, About: w.about(), Metric: w.metric(), work: w}
	values := make(map[string]map[int]float64) // engine, round
	var order []string
	byEngine := make(map[string][]sample)
	for _, s := range samples {
		if !slices.Contains(order, s.Engine) {
			order = append(order, s.Engine)
			values[s.Engine] = make(map[int]float64)
		}
		if s.Error != "" {
			res.Failed = append(res.Failed, fmt.Sprintf("%s round %d: %s", s.Engine, s.Round, s.Error))
			continue
		}
		values[s.Engine][s.Round] = s.Value
		byEngine[s.Engine] = append(byEngine[s.Engine], s)
	}
	for _, name := range order {
		er := summarizeEngine(name, byEngine[name])
		for _, base := range w.bases {
			if ratios := pairedRatios(values[name], values[base]); len(ratios) > 0 {
				er.Ratios[base] = ratioOf(ratios, confidence)
			}
		}
		res.Engines = append(res.Engines, er)
	}
	return res
}

func summarizeEngine(name string, samples []sample) engineResult {
	over := func(field func(sample) float64) spread {
		values := make([]float64, len(samples))
		for i, s := range samples {
			values[i] = field(s)
		}
		return spreadOf(values)
	}
	er := engineResult{
		Engine:     name,
		Rounds:     len(samples),
		Ratios:     make(map[string]ratio),
		Value:      over(func(s sample) float64 { return s.Value }),
		OpsPerSec:  over(func(s sample) float64 { return s.OpsPerSec }),
		ServerCore: over(func(s sample) float64 { return s.ServerCore }),
		LoadCore:   over(func(s sample) float64 { return s.LoadCore }),
		Others:     over(func(s sample) float64 { return s.Others }),
		P90:        over(func(s sample) float64 { return s.P90 }),
		CPUPerOp:   over(func(s sample) float64 { return s.CPUPerOp }),
		MemBytes:   over(func(s sample) float64 { return s.MemberBytes }),
	}
	for key := range samplesMore(samples) {
		if er.More == nil {
			er.More = make(map[string]spread)
		}
		er.More[key] = over(func(s sample) float64 { return s.More[key] })
	}
	for _, s := range samples {
		er.MaxServed = max(er.MaxServed, s.MaxServed)
		er.Resets += s.Resets
	}
	return er
}

// samplesMore returns the names of further figures; all samples of a workload have the same.
func samplesMore(samples []sample) map[string]float64 {
	if len(samples) == 0 {
		return nil
	}
	return samples[0].More
}

// print writes the table of the workload.
func (r result) print(out io.Writer) error {
	fmt.Fprintf(out, "\n%s: %s\n", r.Workload, r.About)
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "engine\t%s\tmin–max\t", r.Metric)
	for _, base := range r.work.bases {
		fmt.Fprintf(tw, "÷ %s\t95 %%\t", base)
	}
	for _, c := range r.work.columns() {
		fmt.Fprintf(tw, "%s\t", c.title)
	}
	fmt.Fprintln(tw)
	for _, e := range r.Engines {
		r.printRow(tw, e)
	}
	err := tw.Flush()
	for _, f := range r.Failed {
		fmt.Fprintf(out, "failed: %s\n", f)
	}
	r.printNotes(out)
	return err
}

// printNotes writes which figures of the table are unreliable.
func (r result) printNotes(out io.Writer) {
	busiest := 0.0
	for _, e := range r.Engines {
		if e.LoadCore.Median > 0.97 && e.ServerCore.Median < 0.9 {
			fmt.Fprintf(out, "note: with %s the generator was the bottleneck: its ops/s are not valid, its CPU per operation is\n", e.Engine)
		}
		if late := e.More[keyLate].Median; late > e.Value.Median/2 {
			fmt.Fprintf(out, "note: with %s the generator sent late (p99 %.0f µs), which is a large part of the latency: is the machine quiet?\n", e.Engine, late)
		}
		busiest = max(busiest, e.Others.Max)
	}
	if busiest > 0.1 {
		fmt.Fprintf(out, "note: other processes used up to %.1f cores during the run: figures are higher and vary more\n", busiest)
	}
}

func (r result) printRow(tw io.Writer, e engineResult) {
	if e.Rounds == 0 {
		fmt.Fprintf(tw, "%s\tfailed\t\t\n", e.Engine)
		return
	}
	digits := r.work.digits()
	fmt.Fprintf(tw, "%s\t%.*f\t%.*f–%.*f\t", e.Engine, digits, e.Value.Median, digits, e.Value.Min, digits, e.Value.Max)
	for _, base := range r.work.bases {
		if ratio, ok := e.Ratios[base]; ok {
			fmt.Fprintf(tw, "%.3f\t%s\t", ratio.Value, ratio.interval("%.3f–%.3f"))
		} else {
			fmt.Fprint(tw, "-\t-\t")
		}
	}
	for _, c := range r.work.columns() {
		fmt.Fprintf(tw, "%s\t", c.cell(e))
	}
	fmt.Fprintln(tw)
}
