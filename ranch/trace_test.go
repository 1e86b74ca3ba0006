package ranch_test

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"goranch/conns"
	"goranch/ranch"
	"goranch/transport"
)

// Trace reports reads and writes of the selected live connections until it is stopped.
func TestTrace(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{}, greetAndEcho)
		in := m.servedClients(t, l, 2)
		waitUntil(t, "the greetings are counted", func() bool {
			all := l.Connections()
			return all[0].Stats.Writes == 1 && all[1].Stats.Writes == 1
		})
		var out lockedBuffer
		log := slog.New(slog.NewJSONHandler(&out, nil))
		id := l.Connections()[0].ID
		stop := l.Trace(conns.Trace{ID: id, Func: ranch.LogTracer(log, 2)})
		for _, v := range in {
			v.checkEcho(t)
		}
		waitUntil(t, "both directions are traced", func() bool { return len(lines(t, out.String())) >= 2 })
		for i, line := range lines(t, out.String()) {
			if line["conn"] != float64(id) || line["op"] != []string{"read", "write"}[i] || line["bytes"] != 4.0 || line["data"] != "7069" {
				t.Errorf("line %d: got %v, want %d bytes of connection %d", i, line, 4, id)
			}
		}
		stop()
		stop()
		for _, v := range in {
			v.checkEcho(t)
		}
		if n := len(lines(t, out.String())); n != 2 {
			t.Errorf("after the stop: got %d lines, want 2", n)
		}
	})
}

// Connections accepted later are traced too, selected by address; several traces are independent.
func TestTraceByNetwork(t *testing.T) {
	if !canBind("127.0.0.2") {
		t.Skip("the system has one loopback address; on macOS: sudo ifconfig lo0 alias 127.0.0.2")
	}
	var s ranch.Server
	l, _, err := tryStartListener(t, &s, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0"}, greetAndEcho)
	if err != nil {
		t.Fatal(err)
	}
	var chosen, all lockedBuffer
	tracer := func(b *lockedBuffer) func(transport.TraceEvent) {
		return ranch.LogTracer(slog.New(slog.NewJSONHandler(b, nil)), 0)
	}
	defer l.Trace(conns.Trace{Network: netip.MustParsePrefix("127.0.0.2/32"), Func: tracer(&chosen)})()
	defer l.Trace(conns.Trace{Func: tracer(&all)})()
	a, b := dialFrom(t, l, "127.0.0.2"), dialFrom(t, l, "127.0.0.1")
	if !isServed(a) || !isServed(b) {
		t.Fatal("a client was refused, want both served")
	}
	waitUntil(t, "both are traced", func() bool { return len(lines(t, all.String())) == 2 })
	if got := lines(t, chosen.String()); len(got) != 1 || !strings.HasPrefix(got[0]["peer"].(string), "127.0.0.2:") || got[0]["data"] != nil {
		t.Errorf("got %v, want one line of 127.0.0.2 without data", got)
	}
}
