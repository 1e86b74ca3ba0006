package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The marks of the part of the page that publish writes.
const (
	docsBegin = "<!-- bench publish: begin; do not edit -->\n"
	docsEnd   = "<!-- bench publish: end -->\n"
)

// splitDocs reads the page and splits it at the marks.
func splitDocs(file string) (before, generated, after string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", "", "", err
	}
	before, rest, found := strings.Cut(string(text), docsBegin)
	generated, after, ended := strings.Cut(rest, docsEnd)
	if !found || !ended {
		return "", "", "", fmt.Errorf("%s has no lines %q and %q: add them where the tables belong", file, strings.TrimSpace(docsBegin), strings.TrimSpace(docsEnd))
	}
	return before, generated, after, nil
}

// write writes the sections of all claims that have results, and their plots.
func (o publishOptions) write() error {
	before, _, after, err := splitDocs(o.docs)
	if err != nil {
		return err
	}
	plots := strings.TrimSuffix(o.docs, ".md")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	var page strings.Builder
	for _, c := range claims {
		rep, err := readReport(o.resultFile(c))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		var svg bytes.Buffer
		if err := plot(&svg, rep); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(plots, c.name+".svg"), svg.Bytes(), 0o644); err != nil {
			return err
		}
		page.WriteString(section(c, rep, filepath.Base(plots)+"/"+c.name+".svg"))
	}
	return os.WriteFile(o.docs, []byte(before+docsBegin+page.String()+docsEnd+after), 0o644)
}

// section is the part of the page about one claim.
func section(c claim, rep report, plot string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\nClaim: %s\n\n![%s: ratios with confidence intervals](%s)\n\n", c.title, c.text, c.title, plot)
	for _, res := range rep.Results {
		writeMarkdown(&b, res)
	}
	fmt.Fprintf(&b, "%s. Command:\n\n    go run . publish --claims %s\n", provenance(rep), c.name)
	for _, why := range rep.Skipped {
		fmt.Fprintf(&b, "\nNot measured: %s.\n", why)
	}
	return b.String()
}

// provenance says when and where the results were measured.
func provenance(rep report) string {
	date, _, _ := strings.Cut(rep.Date, "T")
	parts := []string{"Measured on " + date}
	if rep.Revision != "" {
		parts = append(parts, "revision "+rep.Revision)
	}
	return strings.Join(append(parts, rep.CPU, "Linux "+rep.Kernel, rep.Go, fmt.Sprint(rep.Rig.Rounds, " rounds")), ", ")
}

// writeMarkdown writes the table of a workload.
func writeMarkdown(b *strings.Builder, res result) {
	fmt.Fprintf(b, "`%s`: %s.\n\n| engine | %s |", res.Workload, res.About, res.Metric)
	for _, base := range res.work.bases {
		fmt.Fprintf(b, " ÷ %s | 95 %% interval | shows |", base)
	}
	columns := res.work.columns()
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.title)
	}
	b.WriteString("\n|" + strings.Repeat("---|", 2+3*len(res.work.bases)+len(columns)) + "\n")
	for _, e := range res.Engines {
		if e.Rounds == 0 {
			fmt.Fprintf(b, "| %s | failed |\n", e.Engine)
			continue
		}
		fmt.Fprintf(b, "| %s | %.*f |", e.Engine, res.work.digits(), e.Value.Median)
		for _, base := range res.work.bases {
			b.WriteString(ratioCells(e, base))
		}
		for _, c := range columns {
			fmt.Fprintf(b, " %s |", c.cell(e))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, f := range res.Failed {
		fmt.Fprintf(b, "Failed: %s.\n\n", f)
	}
}

// ratioCells are the cells of one base: the ratio, its interval, and what that shows.
func ratioCells(e engineResult, base string) string {
	r, known := e.Ratios[base]
	switch {
	case !known:
		return " | | |"
	case e.Engine == base:
		return " 1 | | |"
	}
	shows := ""
	switch {
	case !r.known():
	case r.Low > 1:
		shows = "more"
	case r.High < 1:
		shows = "less"
	default:
		shows = "no difference"
	}
	return fmt.Sprintf(" %.3f | %s | %s |", r.Value, r.interval("%.3f to %.3f"), shows)
}
