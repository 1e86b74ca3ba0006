package main

import (
	"errors"
	"time"
)

// windowResult is what was counted within the measured window.
type windowResult struct {
	Ops         int64 `json:"ops"`
	WallNs      int64 `json:"wall_ns"`
	ServerCPUNs int64 `json:"server_cpu_ns"`
	LoadCPUNs   int64 `json:"load_cpu_ns"`
	OthersCPUNs int64 `json:"others_cpu_ns"` // of all other processes of the machine
}

// mark is one end of the window. The operations and the CPU time of the server are read within a
// few microseconds.
type mark struct {
	at                 time.Time
	ops                int64
	serverCPU, loadCPU time.Duration
	machineCPU         time.Duration
}

func takeMark(serverPID int, ops int64) (mark, error) {
	server, err := processCPU(serverPID)
	if err != nil {
		return mark{}, err
	}
	at := time.Now()
	load, err := ownCPU()
	if err != nil {
		return mark{}, err
	}
	machine, err := machineCPU()
	return mark{at: at, ops: ops, serverCPU: server, loadCPU: load, machineCPU: machine}, err
}

func (a mark) until(b mark) (windowResult, error) {
	if b.ops == a.ops {
		return windowResult{}, errors.New("no operation completed within the window: the server does not answer")
	}
	return windowResult{
		Ops:         b.ops - a.ops,
		WallNs:      int64(b.at.Sub(a.at)),
		ServerCPUNs: int64(b.serverCPU - a.serverCPU),
		LoadCPUNs:   int64(b.loadCPU - a.loadCPU),
		OthersCPUNs: max(0, int64(b.machineCPU-a.machineCPU-(b.serverCPU-a.serverCPU)-(b.loadCPU-a.loadCPU))),
	}, nil
}

// driveWindow calls turn throughout warm-up and window. turn handles what is ready, waits for a
// short time if nothing is, and adds completed operations to ops.
func driveWindow(cfg loadConfig, ops *int64, turn func() error) (windowResult, error) {
	var begin mark
	var err error
	edge := time.Now().Add(cfg.warmup)
	for {
		if err := turn(); err != nil {
			return windowResult{}, err
		}
		if time.Now().Before(edge) {
			continue
		}
		if !begin.at.IsZero() {
			break
		}
		if begin, err = takeMark(cfg.serverPID, *ops); err != nil {
			return windowResult{}, err
		}
		edge = begin.at.Add(cfg.duration)
	}
	end, err := takeMark(cfg.serverPID, *ops)
	if err != nil {
		return windowResult{}, err
	}
	return begin.until(end)
}
