package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// procStat is the resource usage of a server.
type procStat struct {
	CPUNs      int64 `json:"cpu_ns"` // user and system time of the process so far
	RSSBytes   int64 `json:"rss_bytes"`
	HeapInuse  int64 `json:"heap_inuse_bytes"`
	StackInuse int64 `json:"stack_inuse_bytes"`
	Goroutines int   `json:"goroutines"`
}

// statOf returns the usage of a process. The figures of the Go runtime are those of this process.
func statOf(pid int) (procStat, error) {
	cpu, err := processCPU(pid)
	if err != nil {
		return procStat{}, err
	}
	rss, err := residentOf(pid)
	if err != nil {
		return procStat{}, err
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return procStat{
		CPUNs:      int64(cpu),
		RSSBytes:   rss,
		HeapInuse:  int64(mem.HeapInuse),
		StackInuse: int64(mem.StackInuse),
		Goroutines: runtime.NumGoroutine(),
	}, nil
}

// ownCPU returns the user and system time of this process.
func ownCPU() (time.Duration, error) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), nil
}

// processCPU returns the user and system time of another process. It reads the CPU clock of the
// process: the same sum as getrusage, but the process need not be scheduled to report it.
func processCPU(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED; the kernel builds a process's clock id as (^pid << 3) | 2
	id := int32(^pid<<3 | schedClock)
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, errno)
	}
	return time.Duration(ts.Nano()), nil
}

// residentOf returns the resident memory of a process: user-space pages, without the kernel's
// socket buffers.
func residentOf(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := bytes.Cut(status, []byte("VmRSS:"))
	if !found {
		return 0, fmt.Errorf("/proc/%d/status has no VmRSS line", pid)
	}
	kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("VmRSS in /proc/%d/status: %w", pid, err)
	}
	return kib << 10, nil
}

// machineCPU returns the time that all processors together were busy. Its resolution is 10 ms.
func machineCPU() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line) // cpu user nice system idle iowait irq softirq steal ...
	if len(fields) < 9 {
		return 0, fmt.Errorf("/proc/stat: first line %q, want at least 8 numbers", line)
	}
	var ticks int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}
