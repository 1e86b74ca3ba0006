package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// report is the content of the JSON file: the machine, the versions, the settings, the summaries
// and every run.
type report struct {
	Date      string            `json:"date"`
	Command   string            `json:"command"`
	Go        string            `json:"go"`
	Kernel    string            `json:"kernel"`
	CPU       string            `json:"cpu"`
	CPUs      int               `json:"cpus"`
	HugePages string            `json:"transparent_huge_pages"`
	LoadAvg   string            `json:"load_average_at_start"` // shows whether other processes ran
	Modules   map[string]string `json:"modules"`
	Rig       rigReport         `json:"rig"`
	Results   []result          `json:"results"`
	Runs      []sample          `json:"runs"`
	// Comparisons are the results of compare.
	Comparisons []comparison `json:"comparisons,omitempty"`
	Revision    string       `json:"revision,omitempty"` // of the repository; "+" after it: with local changes
	Skipped     []string     `json:"skipped,omitempty"`  // engines that are not installed, and how to install them
}

type rigReport struct {
	Rounds    int    `json:"rounds"`
	Warmup    string `json:"warmup"`
	Duration  string `json:"duration"`
	ServerCPU int    `json:"server_cpu"` // -1: not pinned
	LoadCPU   int    `json:"generator_cpu"`
}

func newReport(args []string, o options, r rig) *report {
	rep := &report{
		Date:      time.Now().UTC().Format(time.RFC3339),
		Command:   strings.Join(append([]string{"bench"}, args...), " "),
		Go:        runtime.Version(),
		Kernel:    kernelVersion(),
		CPU:       cpuModel(),
		CPUs:      runtime.NumCPU(),
		HugePages: firstLine("/sys/kernel/mm/transparent_hugepage/enabled"),
		LoadAvg:   firstLine("/proc/loadavg"),
		Revision:  sourceRevision(),
		Modules:   make(map[string]string),
		Rig: rigReport{
			Rounds: o.rounds, Warmup: o.warmup.String(), Duration: o.duration.String(),
			ServerCPU: r.serverCPU, LoadCPU: r.loadCPU,
		},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			rep.Modules[m.Path] = m.Version
		}
	}
	return rep
}

func (rep *report) add(res result, samples []sample) {
	rep.Results = append(rep.Results, res)
	rep.Runs = append(rep.Runs, samples...)
}

// skip records and prints why an engine does not run, once.
func (rep *report) skip(p *progress, why string) {
	if !slices.Contains(rep.Skipped, why) {
		rep.Skipped = append(rep.Skipped, why)
		p.note("SKIPPED %s", why)
	}
}

// failures returns an error if any run failed, so that the exit code shows it.
func (rep *report) failures() error {
	failed := 0
	for _, s := range rep.Runs {
		if s.Error != "" {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d runs failed, see the messages above", failed, len(rep.Runs))
	}
	return nil
}

// readReport reads a file that write has written. Summaries of known workloads are computed again
// from the runs, because older files have other ones.
func readReport(file string) (rep report, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return rep, err
	}
	if err := json.Unmarshal(text, &rep); err != nil {
		return rep, fmt.Errorf("%s: %w", file, err)
	}
	for i, res := range rep.Results {
		at := slices.IndexFunc(workloads, func(w workload) bool { return w.name == res.Workload })
		if at < 0 {
			continue
		}
		var samples []sample
		for _, s := range rep.Runs {
			if s.Workload == res.Workload {
				samples = append(samples, s)
			}
		}
		rep.Results[i] = summarize(workloads[at], samples)
		rep.Results[i].About = res.About
	}
	return rep, nil
}

func (rep *report) write(file string) error {
	text, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// sourceRevision returns the revision of the repository in which bench runs, "" without one. The
// build information has none under "go run".
func sourceRevision() string {
	out, err := exec.Command("git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func kernelVersion() string {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return ""
	}
	var b []byte
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		b = append(b, byte(c))
	}
	return string(b)
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := bytes.Cut(info, []byte("model name"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.TrimLeft(string(line), "\t :")
}

// firstLine returns the first line of a file, or "" if it cannot be read.
func firstLine(file string) string {
	text, _ := os.ReadFile(file)
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return string(line)
}
