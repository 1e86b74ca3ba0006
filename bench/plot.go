package main

import (
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"slices"
	"strings"
)

// plotMain writes the ratios of a JSON file as an SVG: "bench plot results.json > results.svg".
func plotMain(args []string) error {
	if len(args) != 1 || strings.HasPrefix(args[0], "-") {
		fmt.Fprintln(os.Stderr, "bench plot FILE.json writes an SVG of the ratios in FILE.json to stdout")
		if len(args) == 1 && (args[0] == "-h" || args[0] == "--help") {
			return flag.ErrHelp
		}
		return errors.New("one argument is required: a file written with --json")
	}
	rep, err := readReport(args[0])
	if err != nil {
		return err
	}
	return plot(os.Stdout, rep)
}

const (
	plotLabel = 230 // pixels left of the bars
	plotUnit  = 300 // pixels for a ratio of 1
	plotWidth = 800
	barHeight = 16
	plotMax   = 1.7 // longer bars are truncated; the number beside them is exact
)

// plot draws a bar for each engine of each workload, whose length is the ratio to the base engine,
// and a line for its confidence interval.
func plot(w io.Writer, rep report) error {
	var b strings.Builder
	y := 44
	for _, res := range rep.Results {
		base := plotBase(res)
		if base == "" {
			continue
		}
		fmt.Fprintf(&b, `<text x="10" y="%d" class="h">%s ÷ %s</text>`+"\n", y, html.EscapeString(res.Workload), base)
		for _, e := range res.Engines {
			y += barHeight + 4
			plotBar(&b, y, e, e.Ratios[base])
		}
		y += 2 * barHeight
	}
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">
<style>.h{font-weight:bold}.bar{fill:#9bb3c9}.own{fill:#c2553a}</style>
<rect width="100%%" height="100%%" fill="white"/>
<text x="10" y="20">Ratio to the engine after ÷: shorter is better. %s, %s</text>
<line x1="%d" y1="30" x2="%d" y2="%d" stroke="#888" stroke-dasharray="3"/>
%s</svg>
`, plotWidth, y, html.EscapeString(rep.CPU), rep.Go, plotLabel+plotUnit, plotLabel+plotUnit, y-10, b.String())
	return nil
}

// plotBase returns the base engine of a workload's ratios, "" if there is none. bare32k is
// preferred because its buffer fits the workloads that have it.
func plotBase(res result) string {
	var bases []string
	for _, e := range res.Engines {
		for base := range e.Ratios {
			bases = append(bases, base)
		}
	}
	if len(bases) == 0 {
		return ""
	}
	if slices.Contains(bases, "bare32k") {
		return "bare32k"
	}
	return slices.Min(bases)
}

func plotBar(b *strings.Builder, y int, e engineResult, r ratio) {
	class := "bar"
	if strings.HasPrefix(e.Engine, "goranch") {
		class = "own"
	}
	at := func(x float64) int { return plotLabel + int(min(x, plotMax)*plotUnit) }
	low, high := r.Low, r.High
	if !r.known() {
		low, high = r.Value, r.Value
	}
	mid := y - barHeight/3
	digits := 2
	if r.Value < 0.1 {
		digits = 3
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%d" height="%d" class="%s"/>`,
		plotLabel-8, y, e.Engine, plotLabel, y-barHeight+4, at(r.Value)-plotLabel, barHeight-2, class)
	fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="black"/><text x="%d" y="%d">%.*f</text>`+"\n",
		at(low), mid, at(high), mid, max(at(high), at(r.Value))+6, y, digits, r.Value)
}
