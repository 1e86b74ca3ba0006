package main

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// costs are the rows of the table in docs/operations.md, by protocol. Where no flag sets a limit,
// it is fixed in ranchd.
var costs = slices.Concat(echoCosts, relayCosts, shellCosts, packetCosts, topicCosts, webCosts)

// connectionFlags limit the connections of every listener.
const connectionFlags = "`--max-connections`, `--max-per-address`, `--address-rate`"

func idle(s *costServer, _ int) { s.open("") }

// repeated returns frames for a cost: a text so often that it is a batch of about 3 kB.
func repeated(text string, frames int) func() (string, int) {
	n := max(1, 3000/len(text))
	batch := strings.Repeat(text, n)
	return func() (string, int) { return batch, n * frames }
}

var echoCosts = []cost{
	{client: "echo: idle", limit: "none by default", flags: "`--max-connections`, `--idle-timeout`",
		listener: "echo", clients: 500, connect: idle},
	{client: "echo: sends 8 MB, but does not read", limit: "30 s without progress", flags: "`--send-timeout`",
		listener: "echo", clients: 200, connect: func(s *costServer, _ int) { s.open(strings.Repeat("x", 8_000_000)) }},
	{client: "echo: chunks of 3 kB", limit: "none; a client that does not read is not read",
		listener: "echo", frames: repeated(strings.Repeat("x", 3000), 1)},
	{client: "echo: connects, sends a byte and closes", limit: "none by default", flags: "`--address-rate`, `--accept-rate`",
		listener: "echo", visit: func(s *costServer, _ uint32) { s.exchange(s.addr, "x", "x") }},
	{client: "TLS: idle after the handshake", limit: "none by default", flags: "`--max-connections`, `--idle-timeout`",
		listener: "tls", clients: 500, connect: func(s *costServer, _ int) { s.tlsClient() }},
	{client: "TLS: sends half a handshake", limit: "5 s", flags: "`--handshake-timeout`, `--max-handshakes`",
		listener: "tls", clients: 500, connect: func(s *costServer, _ int) { s.open("\x16\x03\x01\x40\x00" + strings.Repeat("a", 8000)) }},
	{client: "TLS: handshakes", limit: "none by default", flags: "`--max-handshakes`, `--address-rate`",
		listener: "tls", visit: func(s *costServer, _ uint32) { s.handshake() }},
}

var relayCosts = []cost{
	{client: "relay: idle", limit: "none by default", flags: "`--max-connections`, `--idle-timeout`",
		listener: "relay", clients: 500, connect: idle},
	{client: "relay: sends 8 MB to a server that does not read", limit: "30 s without progress", flags: "`--send-timeout`",
		listener: "relay", clients: 200, connect: func(s *costServer, _ int) { s.open(strings.Repeat("x", 8_000_000)) }},
	{client: "relay: does not read 8 MB that the server sends", limit: "30 s without progress", flags: "`--send-timeout`",
		listener: "relay", clients: 200, connect: func(s *costServer, _ int) { s.open("g") }},
}

var shellCosts = []cost{
	{client: "shell: idle", limit: "closed after 30 min without a request", flags: connectionFlags,
		listener: "shell", clients: 500, connect: idle},
	{client: "shell: session with the longest history, connection closed",
		limit: "16 KiB of history; 4 MiB of such sessions per source address, 256 MiB in all", flags: "`--max-sessions-per-address`, `--max-sessions`, `--session-ttl`",
		listener: "shell", clients: 300, connect: func(s *costServer, _ int) {
			nc := s.open("")
			for i := range 200 {
				fmt.Fprintf(nc, "echo %d%s\n", i, strings.Repeat("x", 8000))
			}
			fmt.Fprintln(nc, "id")
			readLines(nc, 202)
			nc.Close()
		}},
	{client: "shell: requests, but reads no answer", limit: "the next request runs when fewer than 8 KiB of answers wait; 30 s without progress", flags: "`--send-timeout`",
		listener: "shell", clients: 200, connect: func(s *costServer, _ int) { s.open(strings.Repeat("help\n", 2000)) }},
	{client: "shell: `help`", limit: "none; a client that does not read is not read",
		listener: "shell", frames: repeated("help\n", 1)},
	{client: "shell: connects, sends a request and leaves the session", limit: "1,000 such sessions per source address", flags: "`--address-rate`, `--max-sessions-per-address`",
		listener: "shell", visit: func(s *costServer, _ uint32) { s.exchange(s.addr, "echo done\n", "done\n") }},
}

// packetFrame returns a frame of the packet server.
func packetFrame(text string) string {
	n := len(text)
	return string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + text
}

const packetRequest = `{"jsonrpc":"2.0","method":"stats","id":1}`

const noRoom = "the next request is read when fewer than 8 KiB of answers wait; 30 s without progress"

// unreadAnswers sends so many requests, with answers of so many bytes.
func unreadAnswers(bytes, requests int) func(*costServer, int) {
	return func(s *costServer, _ int) {
		s.open(strings.Repeat(packetFrame(`{"jsonrpc":"2.0","method":"echo","params":["`+strings.Repeat("x", bytes)+`"],"id":1}`), requests))
	}
}

var packetCosts = []cost{
	{client: "packet: idle", limit: "closed after 5 min without a frame", flags: connectionFlags,
		listener: "packet", clients: 500, connect: idle},
	{client: "packet: 1 byte of a frame of 256 KiB", limit: "the buffer grows with what arrives; closed after 5 min", flags: connectionFlags,
		listener: "packet", clients: 500, connect: func(s *costServer, _ int) { s.open("\x00\x03\xff\xf0{") }},
	{client: "packet: half of a frame of 256 KiB", limit: "`packet.Options.MaxFrame`, 256 KiB; closed after 5 min", flags: connectionFlags,
		listener: "packet", clients: 500, connect: func(s *costServer, _ int) { s.open("\x00\x03\xff\xf0{" + strings.Repeat(" ", 130_000)) }},
	{client: "packet: 2 MB of requests of 10 kB, but reads no answer", limit: noRoom, flags: "`--send-timeout`",
		listener: "packet", clients: 500, connect: unreadAnswers(10_000, 200)},
	{client: "packet: 2 MB of requests of 100 kB, but reads no answer", limit: noRoom + "; one answer of up to 256 KiB, and the garbage of the requests", flags: "`--send-timeout`",
		listener: "packet", clients: 300, connect: unreadAnswers(100_000, 20)},
	{client: "packet: batches of 100 requests", limit: "`packet.Options.FramesPerSecond`, 200; `packet.Options.BytesPerSecond`, 1 MiB", flags: "`--address-rate`",
		listener: "packet", frames: repeated(packetFrame("["+strings.Repeat(packetRequest+",", 99)+packetRequest+"]"), 1), perSecond: 190},
}

// subscribeX subscribes to the topic to which the rows with publish publish.
const subscribeX = `{"action":"subscribe","data":"x"}`

// subscribes returns frames that subscribe to so many topics.
func subscribes(format string, n int) (frames []string) {
	for i := range n {
		frames = append(frames, fmt.Sprintf(`{"action":"subscribe","data":"`+format+`"}`, i))
	}
	return frames
}

func publishFrame(topic string, data string) string {
	return `{"action":"publish","data":{"topic":"` + topic + `","data":` + data + `}}`
}

// subscribeMany returns one text with the frames of a client with the largest number of
// subscriptions.
func subscribeMany(i int) string {
	return strings.Join(subscribes(fmt.Sprint("s", i, ".%d"), 1000), "\x00") + "\x00"
}

// sharedTails returns frames that subscribe to patterns of so many tokens, which match a topic up
// to its last token.
func sharedTails(n, tokens int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`{"action":"subscribe","data":"`)
		for bit := range 10 {
			b.WriteString([]string{"a.", "*."}[i>>bit&1])
		}
		b.WriteString(strings.Repeat("x.", tokens-12) + `*.no"}` + "\x00")
	}
	return b.String()
}

// nested returns a publish frame with arrays that are nested so deep, so often.
func nested(depth, times int) string {
	return publishFrame("x", "["+strings.Repeat(strings.Repeat("[", depth)+strings.Repeat("]", depth)+",", times)+"1]") + "\x00"
}

// newTopics returns frames that publish to a new topic each.
func newTopics() func() (string, int) {
	n := 0
	return func() (string, int) {
		var b strings.Builder
		for range 50 {
			n++
			b.WriteString(publishFrame(fmt.Sprint("t", n), "1") + "\x00")
		}
		return b.String(), 50
	}
}

// Limits of topics that several rows share.
const (
	requestRate = "`pubsub.Options.RequestRate`, 20,000 frames of 2 KiB per second"
	publishRate = "`pubsub.Options.PublishRate`, 10,000 messages per second"
)

var topicCosts = []cost{
	{client: "topics: idle", limit: "closed after two minutes of silence", flags: connectionFlags,
		listener: "topics", clients: 500, connect: idle},
	{client: "topics: half a frame of 5 kB", limit: "`pubsub.Options.FrameTimeout`, 1 min", flags: connectionFlags,
		listener: "topics", clients: 500, connect: func(s *costServer, _ int) { s.open(`{"action":"` + strings.Repeat("a", 5000)) }},
	{client: "topics: half a frame of 250 kB", limit: "`pubsub.Options.AddressBytes`: 7.9 MiB of incomplete frames per source address, a 64th of what is free of 512 MiB", flags: "`--max-per-address`",
		listener: "topics", clients: 500, connect: func(s *costServer, _ int) { s.open(`{"action":"` + strings.Repeat("a", 250_000)) }},
	{client: "topics: subscribed, but does not read; 5 MB published", limit: "`pubsub.Options.Queue`, 1 MiB; 30 s without progress", flags: "`--send-timeout`",
		listener: "topics", clients: 50, connect: func(s *costServer, _ int) { s.open(subscribeX + "\x00") }, publish: 100},
	{client: "topics: 1,000 subscriptions", limit: "`pubsub.Options.MaxSubscriptions`; `pubsub.Options.AddressBytes`: about 30,000 subscriptions per source address, a 32nd of what is free of 512 MiB", flags: "`--max-per-address`",
		listener: "topics", clients: 25, connect: func(s *costServer, i int) { s.requests(subscribeMany(i)) }},
	{client: "topics: 1,000 subscriptions, connection closed", limit: "4 MiB of such sessions per source address, 256 MiB in all", flags: "`--max-sessions-per-address`, `--max-sessions`, `--session-ttl`",
		listener: "topics", clients: 200, connect: func(s *costServer, i int) {
			s.requests(subscribeMany(i)).(*net.TCPConn).CloseWrite()
			time.Sleep(20 * time.Millisecond)
		}},
	{client: "topics: NUL", limit: requestRate, flags: "`--address-rate`", listener: "topics", frames: repeated("\x00", 1), perSecond: 20_000},
	{client: "topics: `PING`", limit: requestRate, flags: "`--address-rate`", listener: "topics", frames: repeated("PING\x00", 1), perSecond: 20_000},
	{client: "topics: presence", limit: requestRate, flags: "`--address-rate`",
		listener: "topics", frames: repeated(`{"action":"presence","data":"x"}`+"\x00", 1), perSecond: 20_000},
	{client: "topics: subscribes and unsubscribes a pattern, with 999 similar names", limit: requestRate, flags: "`--address-rate`",
		listener: "topics", first: strings.Join(subscribes("a*b.c>d.%d", 999), "\x00") + "\x00",
		frames: repeated(`{"action":"subscribe","data":"a.*"}`+"\x00"+`{"action":"unsubscribe","data":"a.*"}`+"\x00", 2), perSecond: 20_000},
	{client: "topics: publishes past 31 patterns of 32 tokens", limit: publishRate + "; the cost grows with the arrangements of `*`, 31 per source address", flags: "`--address-rate`",
		listener: "topics", first: sharedTails(31, 32),
		frames: repeated(publishFrame(strings.Repeat("a.", 10)+strings.Repeat("x.", 21)+"yes", "1")+"\x00", 1), perSecond: 9500},
	{client: "topics: publishes 240 kB of arrays, 100 deep", limit: requestRate, flags: "`--address-rate`",
		listener: "topics", frames: repeated(nested(100, 1200), 1), perSecond: 160},
	{client: "topics: publishes 230 kB of arrays, 9,000 deep", limit: "refused: 128 deep", flags: "`--address-rate`",
		listener: "topics", frames: repeated(nested(9000, 13), 1)},
	{client: "topics: publishes to new topics", limit: publishRate + "; `pubsub.Options.HistoryTotal`, 256 MiB: the oldest are evicted", flags: "`--address-rate`",
		listener: "topics", frames: newTopics(), perSecond: 9500},
}
