package main

import "strings"

const (
	webRequest     = "GET / HTTP/1.1\r\nHost: localhost\r\n"
	upgradeRequest = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

// webSocketText returns the header of a text frame, masked with zeros, and n bytes of its payload.
func webSocketText(length, n int) string {
	header := []byte{0x81, 0x80 | 127, 0, 0, 0, 0, byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length), 0, 0, 0, 0}
	return string(header) + strings.Repeat(" ", n)
}

// webSocketRequest returns a short text frame, masked with zeros.
func webSocketRequest(text string) string {
	return string([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
}

var webCosts = []cost{
	{client: "HTTP: idle after a request for the page", limit: "closed after 2 min", flags: connectionFlags,
		listener: "web", clients: 500, connect: func(s *costServer, _ int) { s.open(webRequest + "\r\n") }},
	{client: "HTTP: a header that does not end", limit: "16 KiB, 10 s", flags: connectionFlags,
		listener: "web", clients: 200, connect: func(s *costServer, _ int) { s.open(webRequest + "X: " + strings.Repeat("a", 1_000_000)) }},
	{client: "HTTP: a body that does not arrive", limit: "answered at once, closed after 1 s: no request has a body", flags: connectionFlags,
		listener: "web", clients: 200, connect: func(s *costServer, _ int) {
			s.open("POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc")
		}},
	{client: "HTTP: requests the page", limit: "none; a client that does not read is not read",
		listener: "web", frames: repeated(webRequest+"\r\n", 1)},
	{client: "HTTP: connects, requests the page and closes", limit: "none by default", flags: "`--address-rate`, `--accept-rate`",
		listener: "web", visit: func(s *costServer, _ uint32) { s.exchange(s.addr, webRequest+"Connection: close\r\n\r\n", "") }},
	{client: "WebSocket: idle", limit: "`web.Options.MaxBrowsers`, 10,000; pings", flags: connectionFlags,
		listener: "web", clients: 500, connect: func(s *costServer, _ int) { s.open(upgradeRequest) }},
	{client: "WebSocket: half a message of 250 kB", limit: "16 MiB of incomplete messages in all, 16 KiB guaranteed to each; 1 min", flags: connectionFlags,
		listener: "web", clients: 200, connect: func(s *costServer, _ int) { s.open(upgradeRequest + webSocketText(262_144, 250_000)) }},
	{client: "WebSocket: subscribed, but does not read; 5 MB published", limit: "`web.Options.MaxBuffered`, 128 KiB; `web.Options.MaxBufferedTotal`, 64 MiB", flags: connectionFlags,
		listener: "web", clients: 200, connect: func(s *costServer, _ int) { s.open(upgradeRequest + webSocketRequest(subscribeX)) }, publish: 100},
	{client: "WebSocket: presence", limit: requestRate, flags: "`--address-rate`",
		listener: "web", first: upgradeRequest, frames: repeated(webSocketRequest(`{"action":"presence","data":"x"}`), 1), perSecond: 20_000},
	{client: "WebSocket: connects and closes", limit: "none by default", flags: "`--address-rate`, `--accept-rate`",
		listener: "web", visit: func(s *costServer, _ uint32) { s.exchange(s.addr, upgradeRequest, `}`) }},
	{client: "event stream: idle", limit: "`web.Options.MaxBrowsers`, 10,000", flags: connectionFlags,
		listener: "web", clients: 500, connect: func(s *costServer, _ int) { s.open(eventsRequest("topic=y")) }},
	{client: "event stream: does not read; 5 MB published", limit: "`web.Options.MaxBuffered`, 128 KiB; `web.Options.MaxBufferedTotal`, 64 MiB; 16 MiB of replay buffers", flags: connectionFlags,
		listener: "web", clients: 200, connect: func(s *costServer, _ int) { s.open(eventsRequest("topic=x")) }, publish: 100},
	{client: "event stream: `history=16`, one topic 100 times", limit: "a topic counts once; histories of several topics are sent one after the other", flags: connectionFlags,
		listener: "web", clients: 100, connect: func(s *costServer, _ int) { s.open(eventsRequest("history=16" + strings.Repeat("&topic=x", 100))) }},
	{client: "event stream: connects and closes", limit: "1,000 sessions left behind per source address", flags: "`--address-rate`, `--max-sessions-per-address`",
		listener: "web", visit: func(s *costServer, _ uint32) { s.exchange(s.addr, eventsRequest("topic=y"), "}") }},
}

func eventsRequest(query string) string {
	return "GET /events?" + query + " HTTP/1.1\r\nHost: localhost\r\n\r\n"
}
