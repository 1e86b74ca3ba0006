package main

import "strconv"

// column is a further figure of a workload's tables.
type column struct {
	title string
	cell  func(e engineResult) string
}

// more is a column of sample.More.
func more(key, title string, digits int) column {
	return column{title, func(e engineResult) string { return number(e.More[key].Median, digits) }}
}

func number(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

func percent(share spread) string { return number(100*share.Median, 0) + " %" }

var (
	opsColumn    = column{"ops/s", func(e engineResult) string { return number(e.OpsPerSec.Median, 0) }}
	serverColumn = column{"server core", func(e engineResult) string { return percent(e.ServerCore) }}
	loadColumn   = column{"generator core", func(e engineResult) string { return percent(e.LoadCore) }}
	p90Column    = column{"p90 µs", func(e engineResult) string { return number(e.P90.Median, 1) }}
)

// The figures of kindOpen, in microseconds unless the name says otherwise.
const (
	keyRate       = "offered_per_second"
	keyP50        = "p50_us"
	keyP999       = "p999_us"
	keyMax        = "max_us"
	keyLate       = "sent_late_p99_us"
	keyUnanswered = "unanswered"
	keyCPU        = "cpu_us_per_op"
)

// The figures of kindScale.
const (
	keyProcesses = "server_processes"
	keyKernel    = "kernel_bytes_per_conn"
	keyOpenCPU   = "open_cpu_us_per_conn"
	keyOpenTime  = "open_seconds"
	keyIdleCPU   = "idle_cpu_us_per_conn_second"
	keyEchoCPU   = "echo_cpu_us_per_conn"
	keyEchoTime  = "echo_seconds"
)

// columns returns the workload's further figures in the order of its tables.
func (w workload) columns() []column {
	switch w.kind {
	case kindOpen:
		return []column{
			more(keyP50, "p50 µs", 0), more(keyP999, "p99.9 µs", 0), more(keyMax, "max µs", 0), more(keyRate, "offered/s", 0),
			more(keyUnanswered, "unanswered", 0), more(keyLate, "sent late p99 µs", 0), more(keyCPU, "CPU µs/op", 2),
		}
	case kindScale:
		return []column{
			more(keyKernel, "kernel bytes/conn", 0), more(keyOpenCPU, "open: CPU µs/conn", 1), more(keyOpenTime, "open: s", 1),
			more(keyIdleCPU, "idle: CPU µs/conn/s", 3), more(keyEchoCPU, "echo: CPU µs/conn", 1), more(keyEchoTime, "echo: s", 1),
		}
	case kindCap:
		return []column{
			p90Column,
			{"most served", func(e engineResult) string { return strconv.Itoa(e.MaxServed) }},
			{"resets", func(e engineResult) string { return strconv.Itoa(e.Resets) }},
		}
	case kindFanout:
		return []column{
			p90Column,
			{"CPU µs/delivery", func(e engineResult) string { return number(e.CPUPerOp.Median, 3) }},
			{"deliveries/s", opsColumn.cell},
			{"bytes/member", func(e engineResult) string { return number(e.MemBytes.Median, 0) }},
			serverColumn, loadColumn,
		}
	case kindEcho, kindHTTP, kindChurn:
		return []column{opsColumn, serverColumn, loadColumn}
	}
	return nil
}

// digits is the number of decimals of the metric.
func (w workload) digits() int {
	switch {
	case w.kind == kindIdle, w.kind == kindScale, w.kind == kindOpen, w.kind == kindFanout && w.burst == 1:
		return 0
	case w.kind == kindFanout:
		return 3
	}
	return 2
}
