package web_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/proxy"
)

// costServerEnv makes the test binary a topic server with a gateway, whose costs the benchmark
// measures as those of a process of their own.
const costServerEnv = "GORANCH_COST_SERVER"

// serveCosts prints the addresses of topics and of the gateway, and serves until its standard input
// ends. Its limits are those of ranchd.
func serveCosts() {
	topics, err := pubsub.NewServer(pubsub.Options{})
	if err != nil {
		panic(err)
	}
	var topicsAddr net.Addr
	var mem transport.Mem
	for addr, tr := range map[string]transport.Transport{"127.0.0.1:0": transport.TCP{}, "topics": proxy.Transport{Inner: &mem, Local: proxy.Require}} {
		l, err := new(ranch.Server).StartListener("topics", tr, ranch.Options{Addr: addr, MaxConnections: ranch.Unlimited, Logger: slog.New(slog.DiscardHandler)}, topics)
		if err != nil {
			panic(err)
		}
		if addr != "topics" {
			topicsAddr = l.Addr()
		}
	}
	gw, err := web.NewGateway(web.Options{Dial: func(ctx context.Context) (net.Conn, error) {
		header := &transport.ProxyHeader{Source: web.BrowserAddr(ctx), Destination: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
		return proxy.Transport{Inner: &mem, Header: header}.Dial(ctx, "topics")
	}})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(topicsAddr, l.Addr())
	go (&http.Server{Handler: gw, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 12 << 10}).Serve(l)
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// costServer is a server in a process of its own.
type costServer struct {
	b           *testing.B
	pid         int
	topics, web string
	conns       []net.Conn
}

func newCostServer(b *testing.B) *costServer {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), costServerEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s := &costServer{b: b, pid: cmd.Process.Pid}
	b.Cleanup(func() {
		for _, c := range s.conns {
			c.Close()
		}
		stdin.Close()
		cmd.Wait()
	})
	if _, err := fmt.Fscan(stdout, &s.topics, &s.web); err != nil {
		b.Fatal(err)
	}
	return s
}

// rss returns the resident memory of the server, in kB.
func (s *costServer) rss() int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		s.b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, _ := strconv.Atoi(strings.Fields(rest)[0])
	return n
}

// cpu returns the CPU time of the server.
func (s *costServer) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		s.b.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// dial connects and sends the request in the background. The connection is closed at the end.
func (s *costServer) dial(addr, request string) net.Conn {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		s.b.Fatal(err)
	}
	s.conns = append(s.conns, nc)
	go io.WriteString(nc, request)
	return nc
}

// requests sends a topic server frames in batches until it has sent all or the server closes the
// connection, and reads the answers.
func (s *costServer) requests(frames []string) net.Conn {
	nc := s.dial(s.topics, "")
	go io.Copy(io.Discard, nc)
	for i := 0; i < len(frames); i += 100 {
		io.WriteString(nc, strings.Join(frames[i:min(i+100, len(frames))], "\x00")+"\x00")
	}
	return nc
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

// webSocketText returns the header of a text frame, masked with zeros, and n bytes of its payload.
func webSocketText(length, n int) string {
	header := []byte{0x81, 0x80 | 127, 0, 0, 0, 0, byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length), 0, 0, 0, 0}
	return string(header) + strings.Repeat(" ", n)
}

// memoryAttacks are connections of clients, and what is published when they are established.
var memoryAttacks = []struct {
	name    string
	clients int
	connect func(s *costServer, i int)
	publish int // messages of 50 kB to the topic "x"
}{
	{"topics/idle", 500, func(s *costServer, _ int) { s.dial(s.topics, "") }, 0},
	{"topics/halfFrame100B", 500, func(s *costServer, _ int) { s.dial(s.topics, `{"action":"`+strings.Repeat("a", 100)) }, 0},
	{"topics/halfFrame5kB", 500, func(s *costServer, _ int) { s.dial(s.topics, `{"action":"`+strings.Repeat("a", 5000)) }, 0},
	{"topics/halfFrame250kB", 500, func(s *costServer, _ int) { s.dial(s.topics, `{"action":"`+strings.Repeat("a", 250_000)) }, 0},
	{"topics/notRead", 50, func(s *costServer, _ int) { s.dial(s.topics, subscribe+"\x00") }, 100},
	{"topics/1000subscriptions", 200, func(s *costServer, i int) { s.requests(subscribes(fmt.Sprint("s", i, ".%d"), 1000)) }, 0},
	{"topics/1000subscriptionsDropped", 200, func(s *costServer, i int) {
		s.requests(subscribes(fmt.Sprint("s", i, ".%d"), 1000)).(*net.TCPConn).CloseWrite()
		time.Sleep(20 * time.Millisecond)
	}, 0},
	{"web/idleWebSocket", 500, func(s *costServer, _ int) { s.dial(s.web, upgradeRequest) }, 0},
	{"web/endlessHeader", 200, func(s *costServer, _ int) {
		s.dial(s.web, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("a", 1_000_000))
	}, 0},
	{"web/halfMessage250kB", 200, func(s *costServer, _ int) { s.dial(s.web, upgradeRequest+webSocketText(262_144, 250_000)) }, 0},
	{"web/webSocketNotRead", 200, func(s *costServer, _ int) {
		s.dial(s.web, upgradeRequest+subscribeMessage)
	}, 100},
	{"web/eventsNotRead", 200, func(s *costServer, _ int) { s.dial(s.web, "GET /events?topic=x HTTP/1.1\r\nHost: localhost\r\n\r\n") }, 100},
	{"web/history100times", 100, func(s *costServer, _ int) {
		s.dial(s.web, "GET /events?history=16"+strings.Repeat("&topic=x", 100)+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}, 0},
}

// BenchmarkHostileMemory reports the largest resident memory that a connection costs the server within
// 4 s, and the memory of the server. Run it with -benchtime 1x.
func BenchmarkHostileMemory(b *testing.B) {
	for _, a := range memoryAttacks {
		b.Run(a.name, func(b *testing.B) {
			s := newCostServer(b)
			for range 40 { // a history of 64 KiB
				s.requests([]string{publishFrame("x", `"`+strings.Repeat("a", 3000)+`"`)})
			}
			time.Sleep(200 * time.Millisecond)
			before, largest := s.rss(), 0
			for b.Loop() {
				for i := range a.clients {
					a.connect(s, i)
				}
				publish := []string{publishFrame("x", `"`+strings.Repeat("a", 50_000)+`"`)}
				time.Sleep(500 * time.Millisecond)
				for range 35 {
					for range a.publish / 35 {
						s.requests(publish)
					}
					time.Sleep(100 * time.Millisecond)
					largest = max(largest, s.rss())
				}
			}
			b.ReportMetric(float64(largest-before)/float64(a.clients), "kB/conn")
			b.ReportMetric(float64(largest)/1024, "MiB")
		})
	}
}

// sharedTails returns patterns of so many tokens that match a topic up to its last token.
func sharedTails(n, tokens int) (patterns []string) {
	for i := range n {
		p := ""
		for bit := range 10 {
			p += []string{"a.", "*."}[i>>bit&1]
		}
		patterns = append(patterns, `{"action":"subscribe","data":"`+p+strings.Repeat("x.", tokens-12)+`*.no"}`)
	}
	return patterns
}

// cpuAttacks are frames that one client sends first, and then over and over again, so many per
// second that the server just does not close it.
var cpuAttacks = []struct {
	name      string
	first     []string
	repeat    string
	perSecond int
}{
	{"NUL", nil, "\x00", 20_000},
	{"PING", nil, "PING\x00", 20_000},
	{"presence", nil, `{"action":"presence","data":"x"}` + "\x00", 20_000},
	{"subscribeUnsubscribe", subscribes("a*b.c>d.%d", 999), `{"action":"subscribe","data":"a.*"}` + "\x00" + `{"action":"unsubscribe","data":"a.*"}` + "\x00", 10_000},
	{"patternTails112", sharedTails(1000, 112), publishFrame(strings.Repeat("a.", 10)+strings.Repeat("x.", 101)+"yes", "1") + "\x00", 10_000},
	{"patternTails32", sharedTails(1000, 32), publishFrame(strings.Repeat("a.", 10)+strings.Repeat("x.", 21)+"yes", "1") + "\x00", 10_000},
	{"nestedJSON", nil, publishFrame("x", "["+strings.Repeat(strings.Repeat("[", 100)+strings.Repeat("]", 100)+",", 1200)+"1]") + "\x00", 166},
	{"deeplyNestedJSON", nil, publishFrame("x", "["+strings.Repeat(strings.Repeat("[", 9000)+strings.Repeat("]", 9000)+",", 13)+"1]") + "\x00", 170},
	{"newTopics", nil, "", 10_000},
}

// BenchmarkHostileCPU reports the share of one CPU that a client costs the server, the frames that
// the server takes in a second, and the memory of the server. With GORANCH_COST_FULL set, the client
// sends as fast as it can and connects again when it is closed.
func BenchmarkHostileCPU(b *testing.B) {
	for _, a := range cpuAttacks {
		b.Run(a.name, func(b *testing.B) {
			s := newCostServer(b)
			for b.Loop() {
			}
			perSecond, topics, sent := a.perSecond, 0, 0
			if os.Getenv("GORANCH_COST_FULL") != "" {
				perSecond = 1 << 40
			}
			batch := func() string {
				if a.repeat != "" {
					return strings.Repeat(a.repeat, max(1, 3_000/len(a.repeat)))
				}
				var frames strings.Builder
				for range 50 {
					topics++
					frames.WriteString(publishFrame(fmt.Sprint("t", topics), "1") + "\x00")
				}
				return frames.String()
			}
			var used, wall time.Duration
			connections := 0
			for wall < 3*time.Second && connections < 100 {
				connections++
				nc := s.requests(a.first)
				time.Sleep(200 * time.Millisecond)
				before, start := s.cpu(), time.Now()
				n := 0
				for time.Since(start) < 3*time.Second {
					frames := batch()
					if _, err := nc.Write([]byte(frames)); err != nil {
						break
					}
					n += max(1, strings.Count(frames, "\x00")/max(1, strings.Count(a.repeat, "\x00")))
					time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(perSecond))))
				}
				used, wall, sent = used+s.cpu()-before, wall+time.Since(start), sent+n
				nc.Close()
			}
			b.ReportMetric(used.Seconds()/wall.Seconds()*100, "%CPU")
			b.ReportMetric(float64(connections), "connections")
			b.ReportMetric(float64(sent)/wall.Seconds(), "frames/s")
			b.ReportMetric(float64(s.rss())/1024, "MiB")
		})
	}
}

// BenchmarkHostileBody reports after how long a request whose body does not arrive is answered, and
// its connection closed.
func BenchmarkHostileBody(b *testing.B) {
	s := newCostServer(b)
	for b.Loop() {
		start := time.Now()
		nc := s.dial(s.web, "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc")
		nc.SetReadDeadline(time.Now().Add(30 * time.Second))
		r := bufio.NewReader(nc)
		_, err := r.ReadByte()
		b.ReportMetric(time.Since(start).Seconds(), "s-to-answer")
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s-to-end")
		if err != nil {
			b.Log(err)
		}
	}
}
