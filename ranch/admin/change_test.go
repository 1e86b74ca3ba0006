package admin_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/transport"
)

func (h *house) listener(name string) *ranch.Listener {
	h.t.Helper()
	l, err := h.server.Listener(name)
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

// audited returns the requests that were audited, with "!" before those that have failed.
func (h *house) audited() (lines []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.audit {
		line := e.Line
		if e.Err != nil {
			line = "!" + line
		}
		if e.User.Name != "alice" || !strings.HasPrefix(e.Remote, "mem:client-") {
			line += " by " + e.User.Name + " from " + e.Remote
		}
		lines = append(lines, line)
	}
	return lines
}

func TestKill(t *testing.T) {
	h := open(t, admin.Options{})
	js, l := h.asJSON(), h.listener("echo")
	first, second := h.echoed(1), h.echoed(1)
	for range 3 {
		h.echoed(100)
	}
	killed := func(request string, want float64) {
		t.Helper()
		if got := js.json(request).fields(t)["killed"]; got != want {
			t.Errorf("%s: killed %v, want %v", request, got, want)
		}
	}
	killed(fmt.Sprintf("kill %d %d", first, second), 2)
	h.eventually("two are gone", func() bool { return l.Info().AllConnections == 3 })
	if a := js.json(fmt.Sprint("kill ", first)); a.Error == nil || !regexp.MustCompile(`has ended 0s ago: killed`).MatchString(a.Error.Message) {
		t.Errorf("killed again: %+v", a)
	}
	if a := js.json("kill bytes>100"); a.Error == nil || !strings.Contains(a.Error.Message, "bytes>100 would close 3 connections: add --yes") {
		t.Errorf("without --yes: %+v", a)
	}
	if n := l.Info().AllConnections; n != 3 {
		t.Fatalf("%d connections live", n)
	}
	killed("kill bytes>=200 listener=echo --yes", 3)
	h.eventually("all are gone", func() bool { return l.Info().Reasons[conns.Killed] == 5 })
	killed("kill transport=mem --yes", 0) // not the one that asks
	want := []string{fmt.Sprintf("kill %d %d", first, second), fmt.Sprint("!kill ", first), "!kill bytes>100", "kill bytes>=200 listener=echo --yes", "kill transport=mem --yes"}
	if diff := cmp.Diff(want, h.audited()); diff != "" {
		t.Errorf("audited (-want +got):\n%s", diff)
	}
}

func TestCapAndLimits(t *testing.T) {
	h := open(t, admin.Options{})
	js, l := h.asJSON(), h.listener("echo")
	if got := js.json("cap echo 0").fields(t); got["cap"] != 0.0 || got["was"] != 1024.0 || l.Info().MaxConnections != 0 {
		t.Errorf("cap: %v, %d", got, l.Info().MaxConnections)
	}
	rows := js.json("limit echo idle-timeout=2m accept-rate=100:20 shutdown-timeout=0s refuse-after=0s evict=idlest rest-after=never max-per-address=7 lifetime-jitter=0.5").rows(t)
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprint(r["limit"], " ", r["was"], " ", r["value"]))
	}
	want := []string{"accept-rate unlimited 100:20", "max-per-address none 7", "idle-timeout none 2m0s", "lifetime-jitter 0 0.5",
		"rest-after 1s never", "refuse-after never 0s", "shutdown-timeout 5s 0s", "evict nobody idlest"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	o := l.Options()
	if o.IdleTimeout != 2*time.Minute || o.AcceptRate != (conns.Rate{PerSecond: 100, Burst: 20}) || o.ShutdownTimeout != ranch.BrutalKill || o.RefuseAfter != -1 || o.Evict != conns.EvictMostIdle || o.ParkAfter >= 0 {
		t.Errorf("options %+v", o)
	}
	if n := l.Info().MaxConnections; n != 0 {
		t.Errorf("the cap has become %d", n)
	}
	js.json("limit echo idle-timeout=none shutdown-timeout=infinity accept-rate=unlimited max-per-address=none refuse-after=never")
	if o := l.Options(); o.IdleTimeout != 0 || o.ShutdownTimeout != ranch.Infinity || o.AcceptRate != (conns.Rate{}) || o.PerAddress != 0 || o.RefuseAfter != 0 {
		t.Errorf("options %+v", o)
	}
	// What is shown can be given back.
	for _, r := range js.json("limits echo").rows(t) {
		if a := js.json(fmt.Sprintf("limit echo %s=%s", r["limit"], r["value"])); a.Error != nil {
			t.Errorf("%s: %s", r["limit"], a.Error.Message)
		}
	}
	if a := js.json("limit echo evict=oldest idle-timeout=x"); a.Error == nil || l.Options().Evict != conns.EvictMostIdle {
		t.Errorf("half a change: %+v", a)
	}
	if got := js.json("cap echo unlimited").fields(t); got["cap"] != "unlimited" || l.Info().MaxConnections != ranch.Unlimited {
		t.Errorf("cap: %v", got)
	}
}

// "all" leaves the shell's listener, and those to keep, as they are.
func TestSuspendAll(t *testing.T) {
	h := open(t, admin.Options{Keep: []string{"kept"}})
	h.start("kept", protocol.Func(func(context.Context, *transport.Conn) error { return nil }))
	js := h.asJSON()
	for _, step := range []struct {
		request string
		want    map[string]ranch.Status
	}{
		{"suspend all", map[string]ranch.Status{"echo": ranch.Suspended, "kept": ranch.Running, "shell": ranch.Running}},
		{"resume all", map[string]ranch.Status{"echo": ranch.Running, "kept": ranch.Running, "shell": ranch.Running}},
		{"suspend kept", map[string]ranch.Status{"echo": ranch.Running, "kept": ranch.Suspended, "shell": ranch.Running}},
		{"suspend shell", map[string]ranch.Status{"echo": ranch.Running, "kept": ranch.Suspended, "shell": ranch.Suspended}},
		{"resume shell", map[string]ranch.Status{"echo": ranch.Running, "kept": ranch.Suspended, "shell": ranch.Running}},
	} {
		rows := js.json(step.request).rows(t)
		if len(rows) != 1 {
			t.Errorf("%s: %v", step.request, rows)
		}
		got := map[string]ranch.Status{}
		for _, l := range h.server.Listeners() {
			got[l.Ref()] = l.Info().Status
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.request, diff)
		}
	}
}

// stubborn is a protocol that does not end when it is told to.
var stubborn = protocol.Func(func(_ context.Context, conn *transport.Conn) error {
	for {
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
})

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, admin.Options{})
		h.start("stubborn", stubborn)
		js := h.asJSON()
		go io.Copy(io.Discard, h.dial("stubborn"))
		h.dial("echo")
		synctest.Wait()
		js.send("drain --timeout 2500ms all")
		for range 2 {
			if a := js.answer(); a.Out != "1 connection left\n" {
				t.Errorf("meanwhile: %+v", a)
			}
		}
		got := js.answer().fields(t)
		if got["drained"] != 2.0 || got["connections"] != 2.0 || got["closed"] != 1.0 {
			t.Errorf("drained: %v", got)
		}
		if diff := cmp.Diff([]string{"shell"}, h.listeners()); diff != "" {
			t.Error(diff)
		}
	})
}

// A drain that is cancelled cuts nobody off.
func TestDrainCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, admin.Options{})
		h.start("stubborn", stubborn)
		js, l := h.asJSON(), h.listener("stubborn")
		go io.Copy(io.Discard, h.dial("stubborn"))
		synctest.Wait()
		js.send("drain --timeout 1h stubborn")
		synctest.Wait()
		io.WriteString(js, "\x03")
		if a := js.answer(); a.Error == nil || a.Error.Code != "cancelled" || !strings.Contains(a.Error.Message, "the drain goes on") {
			t.Errorf("cancelled: %+v", a)
		}
		synctest.Wait()
		time.Sleep(50 * time.Minute)
		if i := l.Info(); i.Status != ranch.Stopping || i.AllConnections != 1 {
			t.Errorf("%s, %d connections", i.Status, i.AllConnections)
		}
		time.Sleep(2 * time.Hour)
		if i := l.Info(); i.Status != ranch.Stopped {
			t.Errorf("it is %s after the limit", i.Status)
		}
	})
}

func TestTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, admin.Options{})
		js := h.asJSON()
		idle, slow, fast := h.dial("echo"), h.dial("echo"), h.dial("echo")
		defer idle.Close()
		exchange(t, slow, strings.Repeat("x", 999)) // before the first look
		synctest.Wait()
		js.send("top --interval 2s --limit 2 listener=echo")
		synctest.Wait()
		exchange(t, slow, strings.Repeat("x", 100))
		exchange(t, fast, strings.Repeat("x", 1000))
		frame := func() (perSecond []float64) {
			t.Helper()
			a := js.answer()
			if !a.Frame || a.Total != 4 || len(a.Columns) == 0 {
				t.Errorf("frame %+v", a)
			}
			for _, r := range a.rows(t) {
				perSecond = append(perSecond, r["per_second"].(float64))
			}
			return perSecond
		}
		if diff := cmp.Diff([]float64{1100, 1000, 100}, frame()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		exchange(t, slow, strings.Repeat("x", 50))
		if diff := cmp.Diff([]float64{50, 50, 0}, frame()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		io.WriteString(js, "\x03")
		if a := js.answer(); a.Error == nil || a.Error.Code != "cancelled" || a.Frame {
			t.Errorf("the end: %+v", a)
		}
		js.send("top --count 1")
		time.Sleep(time.Second)
		if a := js.answer(); !a.Frame {
			t.Errorf("frame: %+v", a)
		}
		if a := js.answer(); a.Frame || string(a.Result) != "null" {
			t.Errorf("the end: %+v", a)
		}
	})
}

// traces returns how many are on.
func (h *house) traces(c *client) int {
	h.t.Helper()
	return len(c.json("traces").rows(h.t))
}

func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, admin.Options{})
		nc := h.dial("echo")
		exchange(t, nc, "before")
		synctest.Wait() // it is counted, which a trace would show
		all := h.connections("echo")
		id := all[0].ID
		js, other := h.asJSON(), h.asJSON()
		js.send(fmt.Sprint("trace ", id, " --bytes 5"))
		if a := js.answer(); a.Out != fmt.Sprintf("tracing %d; cancel to end\n", id) {
			t.Errorf("the beginning: %+v", a)
		}
		h.eventually("the trace is on", func() bool { return h.traces(other) == 1 })
		exchange(t, nc, "pass\x00\xffword")
		line := regexp.MustCompile(fmt.Sprintf(`^\d\d:\d\d:\d\d\.\d{6} %d echo mem:client-1 (read|write) 10 "pass\\x00"\.\.\.\n$`, id))
		for _, want := range []string{"read", "write"} {
			if a := js.answer(); !line.MatchString(a.Out) || line.FindStringSubmatch(a.Out)[1] != want {
				t.Errorf("want a %s: %+v", want, a)
			}
		}
		pending := h.pending()
		io.WriteString(js, "\x03")
		if a := js.answer(); a.Error == nil || a.Error.Code != "cancelled" {
			t.Errorf("the end: %+v", a)
		}
		if n := h.traces(other); n != 0 {
			t.Errorf("%d traces are left", n)
		}
		exchange(t, nc, "after")
		synctest.Wait()
		if n := pending(); n != 0 {
			t.Errorf("the connection is still traced: %d events", n)
		}
		js.json("status") // nothing came before its answer
		if diff := cmp.Diff([]string{fmt.Sprintf("!trace %d --bytes 5", id)}, h.audited()); diff != "" {
			t.Errorf("audited (-want +got):\n%s", diff)
		}
	})
}

func TestTraceSwitchedOff(t *testing.T) {
	h := open(t, admin.Options{})
	id := h.echoed(1)
	js, other := h.asJSON(), h.asJSON()
	js.send(fmt.Sprint("trace ", id, " on"))
	js.answer()
	h.eventually("the trace is on", func() bool { return h.traces(other) == 1 })
	if got := other.json(fmt.Sprint("trace ", id, " off")).fields(t); got["ended"] != 1.0 {
		t.Errorf("off: %v", got)
	}
	a := js.answer()
	for a.Out != "" { // what was still being counted
		a = js.answer()
	}
	if a.Error != nil || string(a.Result) != `"the trace was switched off"` {
		t.Errorf("the end: %+v", a)
	}
}

// A trace of one connection ends with it, and a client that has gone ends its own with its session.
func TestTraceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, admin.Options{})
		id := h.echoed(1)
		js := h.asJSON()
		js.send(fmt.Sprint("trace ", id))
		js.answer()
		h.listener("echo").Kill(id)
		for {
			a := js.answer()
			if a.Out != "" {
				continue
			}
			if string(a.Result) != `"the connection has ended"` {
				t.Errorf("the end: %+v", a)
			}
			break
		}
		if own := h.listener("shell").Connections()[0].ID; js.json(fmt.Sprint("trace ", own)).Error == nil {
			t.Error("one's own connection is traced")
		}
	})
}

// Two who trace each other do not keep each other busy for ever.
func TestTraceOfEachOther(t *testing.T) {
	h := open(t, admin.Options{})
	a, b, other := h.asJSON(), h.asJSON(), h.asJSON()
	all := h.listener("shell").Connections()
	a.send(fmt.Sprint("trace ", all[1].ID))
	h.eventually("the first is on", func() bool { return h.traces(other) == 1 })
	b.send(fmt.Sprint("trace ", all[0].ID))
	h.eventually("the second is on", func() bool { return h.traces(other) == 2 })
	for range 50 {
		for _, r := range other.json("traces").rows(t) {
			if n := r["shown"].(float64); n > 3 { // the request of the second, and an answer before
				t.Fatalf("%v events of %v", n, r["target"])
			}
		}
	}
	for _, c := range []*client{a, b} {
		io.WriteString(c, "\x03")
		for one := c.answer(); one.Error == nil; one = c.answer() {
		}
	}
}

// A network of real addresses, and its neighbour.
func TestTraceNetwork(t *testing.T) {
	h := open(t, admin.Options{})
	l, err := h.server.StartListener("tcp", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet}, stubbornEcho)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	js, other := h.asJSON(), h.asJSON()
	js.send("trace 127.0.0.0/8")
	js.answer()
	h.eventually("the trace is on", func() bool { return h.traces(other) == 1 })
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	exchange(t, nc, "hello")
	if a := js.answer(); !strings.Contains(a.Out, ` read 5 "hello"`) {
		t.Errorf("%+v", a)
	}
	rows := other.json("connections peer=127.0.0.1 listener=tcp").rows(t)
	if len(rows) != 1 {
		t.Errorf("by address: %v", rows)
	}
	if rows := other.json("connections peer!=127.0.0.0/8 listener=tcp").rows(t); len(rows) != 0 {
		t.Errorf("not by address: %v", rows)
	}
	io.WriteString(js, "\x03")
	for a := js.answer(); a.Error == nil; a = js.answer() {
	}
}

// stubbornEcho reads and writes in the process, where the kernel's own way could not be traced.
var stubbornEcho = protocol.Func(func(_ context.Context, conn *transport.Conn) error {
	b := make([]byte, 100)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return err
		}
		if _, err := conn.Write(b[:n]); err != nil {
			return err
		}
	}
})

func TestGC(t *testing.T) {
	h := open(t, admin.Options{})
	if got := h.asJSON().json("gc").fields(t); got["before"] == 0.0 || got["after"] == 0.0 {
		t.Errorf("%v", got)
	}
}

func TestAudit(t *testing.T) {
	var b strings.Builder
	log := admin.Audit(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "time" {
			return slog.Attr{}
		}
		return a
	}})))
	e := shell.AuditEntry{Time: time.Unix(0, 0).UTC(), User: shell.User{Name: "CN=alice", Role: shell.Operator}, Remote: "10.0.0.1:5",
		Command: "cap", Line: "cap echo 5\nlevel=INFO", Duration: time.Millisecond}
	log(e)
	e.Err, e.Line = fmt.Errorf("no"), strings.Repeat("x", 5000)
	log(e)
	want := `level=INFO msg=audit user="CN=alice" role=operator remote=10.0.0.1:5 command=cap line="cap echo 5\nlevel=INFO" began=1970-01-01T00:00:00.000Z duration=1ms result=done
level=WARN msg=audit user="CN=alice" role=operator remote=10.0.0.1:5 command=cap line=` + strings.Repeat("x", 1024) + `... began=1970-01-01T00:00:00.000Z duration=1ms err=no result=failed
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
