package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"
)

// unpinned means any processor.
const unpinned = -1

// cpuSet is a kernel affinity mask of up to 1,024 processors.
type cpuSet [16]uint64

func (s *cpuSet) has(cpu int) bool { return s[cpu/64]&(1<<(cpu%64)) != 0 }

func getAffinity() (cpuSet, error) {
	var set cpuSet
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		return set, os.NewSyscallError("sched_getaffinity", errno)
	}
	return set, nil
}

func setAffinity(set cpuSet) error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		return os.NewSyscallError("sched_setaffinity", errno)
	}
	return nil
}

// allowedCPUs returns the processors that this process may run on.
func allowedCPUs() ([]int, error) {
	set, err := getAffinity()
	if err != nil {
		return nil, err
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.has(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// startPinned starts the command on one processor. A child inherits the affinity of the thread that
// forks it, so this thread changes its own affinity while it starts the child: the child runs on
// the right processor from its first instruction.
func startPinned(cmd *exec.Cmd, cpu int) error {
	if cpu == unpinned {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := getAffinity()
	if err != nil {
		return err
	}
	if cpu >= len(own)*64 {
		return fmt.Errorf("processor %d: allowed are 0 to %d", cpu, len(own)*64-1)
	}
	var one cpuSet
	one[cpu/64] = 1 << (cpu % 64)
	if err := setAffinity(one); err != nil {
		return fmt.Errorf("pin to processor %d (is it online and allowed for this process?): %w", cpu, err)
	}
	err = cmd.Start()
	if back := setAffinity(own); err == nil {
		err = back
	}
	return err
}
