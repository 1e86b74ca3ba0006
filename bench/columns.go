package main

// column is a further figure of a workload's tables. Its values are in sample.More.
type column struct {
	key    string
	title  string
	digits int
}

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
			{keyP50, "p50 µs", 0}, {keyP999, "p99.9 µs", 0}, {keyMax, "max µs", 0}, {keyRate, "offered/s", 0},
			{keyUnanswered, "unanswered", 0}, {keyLate, "sent late p99 µs", 0}, {keyCPU, "CPU µs/op", 2},
		}
	case kindScale:
		return []column{
			{keyKernel, "kernel bytes/conn", 0}, {keyOpenCPU, "open: CPU µs/conn", 1}, {keyOpenTime, "open: s", 1},
			{keyIdleCPU, "idle: CPU µs/conn/s", 3}, {keyEchoCPU, "echo: CPU µs/conn", 1}, {keyEchoTime, "echo: s", 1},
		}
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
