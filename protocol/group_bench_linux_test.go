package protocol_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goranch/internal/loadgen"
	"goranch/protocol"
	"goranch/transport"
)

// BenchmarkFanout compares the processor time of a broadcast of 64 bytes with that of a loop of
// net.Conn.Write over the same connections, burst by burst. The clients read between the bursts,
// outside of the measured time, and nothing waits for them: so the result contains neither wake-ups
// nor readers, and depends little on what else the machine does.
//
//	go test -run '^$' -bench Fanout -benchtime 300x ./protocol
func BenchmarkFanout(b *testing.B) {
	for _, n := range []int{1000, 8000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			m := newMembers(b, n)
			group := &protocol.Group{}
			m.serve(b, group)
			frame := make([]byte, 64)
			var groups, loops, ratios []float64
			for b.Loop() {
				groups = append(groups, m.measure(b, frame, func() {
					group.Broadcast(frame, nil)
					group.Wait(nil)
				}))
				loops = append(loops, m.measure(b, frame, func() {
					for _, nc := range m.conns {
						nc.Write(frame)
					}
				}))
				ratios = append(ratios, groups[len(groups)-1]/loops[len(loops)-1])
			}
			b.ReportMetric(percentile(groups, 10), "cpu-ns/delivery")
			b.ReportMetric(percentile(loops, 10), "cpu-ns/write")
			b.ReportMetric(percentile(ratios, 50), "ratio")
			m.close(b)
		})
	}
}

func percentile(of []float64, p int) float64 {
	slices.Sort(of)
	return of[len(of)*p/100]
}

// measure returns the processor time in ns that burst spends for each client.
func (m *members) measure(b *testing.B, frame []byte, burst func()) float64 {
	begin := processorTime()
	burst()
	used := processorTime() - begin
	m.drain(b, len(frame))
	return float64(used.Nanoseconds()) / float64(len(m.clients))
}

// members are connections whose clients are sockets without a goroutine.
type members struct {
	clients []int
	conns   []net.Conn
	done    chan struct{}
	served  int
}

func newMembers(b *testing.B, n int) *members {
	b.Helper()
	ln, err := transport.TCP{}.Listen(b.Context(), "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	to := unix.SockaddrInet4{Port: int(netip.MustParseAddrPort(ln.Addr().String()).Port()), Addr: [4]byte{127, 0, 0, 1}}
	m := &members{done: make(chan struct{}, n)}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			m.clients = append(m.clients, fd)
			err = unix.Connect(fd, &to)
		}
		if err != nil {
			b.Fatal(err)
		}
		nc, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		m.conns = append(m.conns, nc)
	}
	return m
}

// serve makes all connections members of g.
func (m *members) serve(b *testing.B, g *protocol.Group) {
	joined := make(chan error, len(m.conns))
	p := protocol.Handle(func() protocol.Handler { return &joiner{g, joined} }, protocol.Options{})
	for _, nc := range m.conns {
		c := transport.NewConn(transport.TCP{}, nc)
		go func() {
			p.Serve(context.Background(), c)
			m.done <- struct{}{}
		}()
		m.served++
	}
	for range m.conns {
		if err := <-joined; err != nil {
			b.Fatal(err)
		}
	}
}

type joiner struct {
	g      *protocol.Group
	joined chan error
}

func (j *joiner) HandleConnect(p *protocol.Peer) protocol.Action {
	j.joined <- j.g.Join(p)
	return protocol.Continue()
}

func (*joiner) HandleData(*protocol.Peer, []byte) protocol.Action { return protocol.Continue() }

// drain reads size bytes from each client.
func (m *members) drain(b *testing.B, size int) {
	buf := make([]byte, 4096)
	for _, fd := range m.clients {
		if n, err := loadgen.Read(fd, buf); err != nil || n != size {
			b.Fatalf("read: got %d bytes, %v, want %d", n, err, size)
		}
	}
}

func (m *members) close(b *testing.B) {
	for _, fd := range m.clients {
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(fd)
	}
	for range m.served {
		<-m.done
	}
	for _, nc := range m.conns {
		nc.Close()
	}
}

// processorTime returns the user and system time of the process.
func processorTime() time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
