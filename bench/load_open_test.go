package main

import (
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
)

// stallingServer echoes bytes, but waits once before it answers.
func stallingServer(t *testing.T, after int, stall time.Duration) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 1)
		for n := 0; ; n++ {
			if _, err := io.ReadFull(conn, b); err != nil {
				return
			}
			if n == after {
				time.Sleep(stall)
			}
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// A stall of the server delays all requests that are scheduled during it, although there is only
// one connection. A closed loop would have measured one slow request of many.
func TestOpenLoopMeasuresStalls(t *testing.T) {
	const stall, rate = 200 * time.Millisecond, 1000
	cfg := loadConfig{
		work: kindOpen, conns: 1, size: 1, rate: rate, addr: stallingServer(t, 100, stall), serverPID: os.Getpid(),
		duration: 500 * time.Millisecond,
	}
	e, err := openEcho(cfg, cfg.conns)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	loop := newOpenLoop(e, cfg)
	got, err := loop.drive(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got.Unanswered != 0 || got.Requests < rate/4 || got.Requests != len(loop.latencies) {
		t.Errorf("got %d requests, %d unanswered, want about %d and 0", got.Requests, got.Unanswered, rate/2)
	}
	if got.Max < int64(stall) || got.P99 < int64(stall/2) {
		t.Errorf("got max %v and p99 %v, want at least %v and %v", time.Duration(got.Max), time.Duration(got.P99), stall, stall/2)
	}
	slow := 0
	for _, ns := range loop.latencies {
		if ns > int64(stall/4) {
			slow++
		}
	}
	// Of the 200 scheduled during the stall, three quarters wait for more than a quarter of it.
	if want := rate / 10; slow < want {
		t.Errorf("got %d requests that waited for more than %v, want at least %d", slow, stall/4, want)
	}
}

// A generator that is late sends what was due, and keeps the scheduled times.
func TestOpenLoopKeepsItsSchedule(t *testing.T) {
	cfg := loadConfig{work: kindOpen, conns: 1, size: 1, rate: 1000, addr: stallingServer(t, 1, 0)}
	e, err := openEcho(cfg, cfg.conns)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	loop := newOpenLoop(e, cfg)
	loop.start = time.Now().Add(-time.Hour)
	loop.begin, loop.end = 0, int64(time.Hour)
	if err := loop.sendDue(); err != nil {
		t.Fatal(err)
	}
	due := loop.conns[0].due
	if len(due) != openBatch || due[0] != 0 || due[openBatch-1] > int64(time.Minute) || !slices.IsSorted(due) {
		t.Errorf("got times %v, want the first %d of the schedule", due, openBatch)
	}
}

// Requests without an answer count with the time that they have waited.
func TestOpenLoopCountsUnanswered(t *testing.T) {
	o := &openLoop{begin: 100, end: 200, conns: []openConn{
		{due: []int64{90, 150, 180, 210}, answered: 0},
		{due: []int64{120, 160}, answered: 1},
	}, latencies: []int64{5}}
	got, err := o.result(1000)
	if err != nil || got.Requests != 4 || got.Unanswered != 3 || got.Max != 850 || got.P50 != 820 {
		t.Errorf("got %+v, %v; want 4 requests, 3 unanswered, max 850, p50 820", got, err)
	}
}
