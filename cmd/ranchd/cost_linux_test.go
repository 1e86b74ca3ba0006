package main

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"goranch/transport"
)

// cost is a row of the table in docs/operations.md: what an anonymous client does, and what limits
// it.
type cost struct {
	client, limit, flags string
	listener             string // of costListen

	// Memory: each of so many clients connects, and then messages of 50 kB are published to the
	// topic "x".
	clients int
	connect func(s *costServer, i int)
	publish int

	// Speed: one client sends frames, or makes connections.
	first     string                        // sent once per connection
	frames    func() (text string, n int)   // sent again and again, and how many frames it is
	perSecond int                           // frames just below the limit; 0 is no limit
	visit     func(s *costServer, n uint32) // makes one connection, the nth
}

const costHeader = "| client | memory | CPU | CPU at full speed | limit | flags |\n|---|---|---|---|---|---|\n"

// row returns the row of the table. The results are empty if they have not been measured.
func (c *cost) row(r costResult) string {
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", c.client, r.memory, r.paced, r.full, c.limit, cmp.Or(c.flags, "none"))
}

type costResult struct{ memory, paced, full string }

// BenchmarkHostile measures what a client costs the built program with its default limits, and
// prints the table of docs/operations.md: memory is the growth of the resident memory per client at
// its peak, CPU the share of one processor. A part of the rows is selected with -bench
// Hostile/shell. Run it with -benchtime 1x.
func BenchmarkHostile(b *testing.B) {
	bin, table := buildProgram(b), costHeader
	for _, c := range costs {
		b.Run(c.client, func(b *testing.B) {
			r := costResult{"–", "–", "–"}
			for b.Loop() {
			}
			switch {
			case c.connect != nil:
				r.memory, r.paced = newCostServer(b, bin, &c).memory()
			case c.visit != nil:
				r.memory, r.full = newCostServer(b, bin, &c).speed(0)
			default:
				if c.perSecond > 0 {
					_, r.paced = newCostServer(b, bin, &c).speed(c.perSecond)
				}
				r.memory, r.full = newCostServer(b, bin, &c).speed(0)
			}
			table += c.row(r)
		})
	}
	fmt.Print("\n" + table)
}

// TestCostTable checks that the table in docs/operations.md has the rows of BenchmarkHostile, whose
// flags exist.
func TestCostTable(t *testing.T) {
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), costHeader)
	table, _, _ = strings.Cut(table, "\n\n")
	var got, want []string
	for line := range strings.Lines(table + "\n") {
		if cells := strings.Split(line, " | "); len(cells) == 6 {
			cells[1], cells[2], cells[3] = "", "", ""
			line = strings.Join(cells, " | ")
		}
		got = append(got, line)
	}
	names := map[string]bool{"none": true, "": true}
	for _, k := range flagKeys {
		names["`--"+k.Name+"`"] = true
	}
	for _, c := range costs {
		want = append(want, c.row(costResult{}))
		for _, f := range strings.Split(c.flags, ", ") {
			if !names[f] {
				t.Errorf("%s: got flag %s, want one of ranchd", c.client, f)
			}
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("rows of docs/operations.md without figures (-want +got):\n%s", diff)
	}
}

// costListen are the listeners of the measured program.
var costListen = []string{
	"echo=tcp://127.0.0.1:0", "tls=tls://127.0.0.1:0", "shell=shell+tcp://127.0.0.1:0",
	"packet=packet+tcp://127.0.0.1:0", "topics=topics+tcp://127.0.0.1:0", "web=web+tcp://127.0.0.1:0",
	"relay=relay+tcp://127.0.0.1:0",
}

// costServer is a program whose costs are measured for a row.
type costServer struct {
	*process
	*cost
	b      *testing.B
	addr   string // of the listener of the row
	topics string // address of topics
	conns  []net.Conn
}

func newCostServer(b *testing.B, bin string, c *cost) *costServer {
	b.Helper()
	args := []string{"--quiet", "--admin", "none", "--log-format", "json"}
	for _, l := range costListen {
		args = append(args, "--listen", l)
	}
	args = append(args, "--upstream", costUpstream(b))
	s := &costServer{process: startProcess(b, bin, args...), cost: c, b: b}
	s.log.event(b, "serving", nil)
	s.addr, s.topics = s.log.addr(b, c.listener), s.log.addr(b, "topics")
	for range 40 { // a history of 64 KiB
		s.requests(publishFrame("x", `"`+strings.Repeat("a", 3000)+`"`) + "\x00")
	}
	time.Sleep(200 * time.Millisecond)
	return s
}

// costUpstream starts the server to which relay forwards, and returns its address. It sends 8 MB to
// a connection that begins with "g", and otherwise reads no more than the first byte.
func costUpstream(b *testing.B) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // until ranchd has closed the connection
				defer nc.Close()
				var first [1]byte
				if n, _ := nc.Read(first[:]); n == 1 && first[0] == 'g' {
					io.WriteString(nc, strings.Repeat("x", 8_000_000))
				} else if n == 1 {
					<-b.Context().Done()
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// memory connects the clients, and returns the memory of one and the CPU time of one at rest.
func (s *costServer) memory() (memory, cpu string) {
	before, largest := residentKB(s.b, s.process), 0
	sample := func() { largest = max(largest, residentKB(s.b, s.process)) }
	for i := range s.clients {
		s.connect(s, i)
		sample()
	}
	time.Sleep(500 * time.Millisecond)
	for range 15 + 2*min(s.publish, 10) {
		for range s.publish / 35 {
			s.requests(publishFrame("x", `"`+strings.Repeat("a", 50_000)+`"`) + "\x00")
		}
		time.Sleep(100 * time.Millisecond)
		sample()
	}
	used, start := s.cpu(), time.Now()
	time.Sleep(time.Second)
	share := (s.cpu() - used).Seconds() / time.Since(start).Seconds() * 100 / float64(s.clients)
	kB := float64(largest-before) / float64(s.clients)
	s.b.ReportMetric(kB, "kB/client")
	s.close()
	return fmt.Sprintf("%.0f kB (%d)", kB, s.clients), percent(share)
}

// speed runs one client for 3 s, which connects again when it is closed. It returns the growth of
// the memory and the share of a processor. perSecond limits the frames; 0 is as many as possible.
func (s *costServer) speed(perSecond int) (memory, cpu string) {
	before, largest := residentKB(s.b, s.process), 0
	used, start := s.cpu(), time.Now()
	frames, connections := 0, uint32(0)
	for time.Since(start) < 3*time.Second {
		connections++
		if s.visit != nil {
			s.visit(s, connections)
		} else {
			frames += s.send(start.Add(3*time.Second), perSecond)
		}
		largest = max(largest, residentKB(s.b, s.process))
	}
	wall := time.Since(start).Seconds()
	share := (s.cpu() - used).Seconds() / wall * 100
	s.b.ReportMetric(share, "%CPU")
	s.b.ReportMetric(float64(connections)/wall, "connections/s")
	cpu = percent(share)
	switch { // at full speed the server does not handle all frames
	case perSecond > 0:
		cpu += ", " + rounded(float64(frames)/wall) + "/s"
	case connections > 1:
		cpu += ", " + rounded(float64(connections)/wall) + "/s"
	}
	s.close()
	return rounded(float64(max(0, largest-before))) + " kB", cpu
}

// send runs one connection and returns how many frames were sent.
func (s *costServer) send(end time.Time, perSecond int) (n int) {
	nc := s.dial(s.addr, "")
	defer nc.Close()
	var closed atomic.Bool // by the server, which may discard what follows for a while
	go func() {
		io.Copy(io.Discard, nc)
		closed.Store(true)
	}()
	io.WriteString(nc, s.first)
	start := time.Now()
	for !closed.Load() && time.Now().Before(end) {
		text, frames := s.frames()
		nc.SetWriteDeadline(end)
		if _, err := io.WriteString(nc, text); err != nil {
			break
		}
		n += frames
		if perSecond > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(perSecond))))
		}
	}
	return n
}

// percent formats a share of a processor.
func percent(p float64) string {
	switch {
	case p < 0.1:
		return "< 0.1 %"
	case p < 10:
		return fmt.Sprintf("%.1f %%", p)
	}
	return fmt.Sprintf("%.0f %%", p)
}

// rounded formats a number with two significant digits, and commas.
func rounded(f float64) string {
	digits := strconv.FormatFloat(f, 'g', 2, 64)
	f, _ = strconv.ParseFloat(digits, 64)
	text := strconv.FormatFloat(f, 'f', -1, 64)
	for i := len(text) - 3; i > 0 && f >= 1000; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// residentKB returns the resident memory of a process.
func residentKB(t testing.TB, p *process) (kb int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fmt.Sscan(rest, &kb)
	return kb
}

// cpu returns the CPU time of the server.
func (s *costServer) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		s.b.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// dial connects and sends the request in the background. The connection is closed at the end of the
// row.
func (s *costServer) dial(addr, request string) net.Conn {
	nc, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		s.b.Fatal(err)
	}
	s.conns = append(s.conns, nc)
	if request != "" {
		go io.WriteString(nc, request)
	}
	return nc
}

// open is dial to the listener of the row.
func (s *costServer) open(request string) net.Conn { return s.dial(s.addr, request) }

// requests sends the topic server frames, and reads the answers.
func (s *costServer) requests(frames string) net.Conn {
	nc := s.dial(s.topics, "")
	go io.Copy(io.Discard, nc)
	io.WriteString(nc, frames)
	return nc
}

// exchange makes a connection, sends a request, reads until the answer ends with that text, or to
// the end of the connection if it is empty, and closes the connection.
func (s *costServer) exchange(addr, request, until string) {
	nc := s.dial(addr, "")
	s.conns = s.conns[:len(s.conns)-1]
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(timeout))
	io.WriteString(nc, request)
	r, answer := bufio.NewReader(nc), ""
	for until == "" || !strings.HasSuffix(answer, until) {
		c, err := r.ReadByte()
		if err != nil {
			return
		}
		answer += string(c)
		answer = answer[max(0, len(answer)-len(until)):]
	}
}

// tlsClient makes a TLS connection that stays open.
func (s *costServer) tlsClient() {
	nc, err := (transport.TLS{Config: &tls.Config{InsecureSkipVerify: true}}).Dial(s.b.Context(), s.addr)
	if err != nil {
		s.b.Fatal(err)
	}
	s.conns = append(s.conns, nc)
}

// handshake makes a TLS connection and closes it.
func (s *costServer) handshake() {
	nc, err := (transport.TLS{Config: &tls.Config{InsecureSkipVerify: true}}).Dial(s.b.Context(), s.addr)
	if err == nil {
		nc.Close()
	}
}

func (s *costServer) close() {
	for _, nc := range s.conns {
		nc.Close()
	}
	s.conns = nil
	s.cmd.Process.Kill()
	<-s.done
}
