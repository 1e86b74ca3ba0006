package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"goranch/transport"
)

// memoryCosts are what anonymous clients do to occupy memory. Each gets a connection of its own.
var memoryCosts = []struct {
	name, listen string
	clients      int
	act          func(nc net.Conn) // closes the connection if that is part of it
}{
	{"shell/idle", "shell", 500, func(net.Conn) {}},
	{"shell/longHistoryDetached", "shell", 300, func(nc net.Conn) {
		for i := range 200 {
			fmt.Fprintf(nc, "echo %d%s\n", i, strings.Repeat("x", 8000))
		}
		io.WriteString(nc, "id\n")
		readLines(nc, 202)
		nc.Close()
	}},
	{"shell/doesNotRead", "shell", 200, func(nc net.Conn) {
		nc.SetWriteDeadline(time.Now().Add(time.Second))
		for range 2000 {
			if _, err := io.WriteString(nc, "help\n"); err != nil {
				return
			}
		}
	}},
	{"packet/idle", "packet", 500, func(net.Conn) {}},
	{"packet/smallHalfFrame", "packet", 500, func(nc net.Conn) { nc.Write([]byte("\x00\x03\xff\xf0{")) }},
	{"packet/largeHalfFrame", "packet", 500, func(nc net.Conn) {
		nc.Write(append([]byte("\x00\x03\xff\xf0{"), strings.Repeat(" ", 130_000)...))
	}},
	{"echo/idle", "echo", 500, func(net.Conn) {}},
}

func readLines(r io.Reader, n int) {
	b := bufio.NewReaderSize(r, 16<<10)
	for range n {
		if _, err := b.ReadString('\n'); err != nil {
			return
		}
	}
}

// BenchmarkHostileMemory reports the largest resident memory that a client of ranchd costs, without the
// kernel's buffers. Run it with -benchtime 1x.
func BenchmarkHostileMemory(b *testing.B) {
	bin := filepath.Join(b.TempDir(), "ranchd")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	for _, c := range memoryCosts {
		b.Run(c.name, func(b *testing.B) {
			p := startProcess(b, bin, "--quiet", "--admin", "none", "--log-format", "json",
				"--listen", "shell=shell+tcp://:0", "--listen", "packet=packet+tcp://:0", "--listen", "echo=tcp://:0")
			addr := p.log.addr(b, c.listen)
			before, largest := residentKB(b, p), 0
			for b.Loop() {
				for range c.clients {
					nc := dial(b, transport.TCP{}, addr)
					c.act(nc)
					largest = max(largest, residentKB(b, p))
				}
				time.Sleep(time.Second)
				largest = max(largest, residentKB(b, p))
			}
			b.ReportMetric(float64(largest-before)/float64(c.clients), "kB/client")
		})
	}
}

// residentKB returns the resident memory of a process.
func residentKB(b testing.TB, p *process) (kb int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fmt.Sscan(rest, &kb)
	return kb
}

func subscribes(format string, n int) (frames []string) {
	for i := range n {
		frames = append(frames, fmt.Sprintf(`{"action":"subscribe","data":"`+format+`"}`, i))
	}
	return frames
}

func publishFrame(topic string, data string) string {
	return `{"action":"publish","data":{"topic":"` + topic + `","data":` + data + `}}`
}
