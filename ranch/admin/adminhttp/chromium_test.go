//go:build unix

package adminhttp_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"goranch/conns"
	"goranch/internal/chromiumtest"
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/admin/adminhttp"
	"goranch/transport"
)

// screenshotEnv is the environment variable that makes the test write docs/img/dashboard-*.png.
const screenshotEnv = "GORANCH_SCREENSHOTS"

func openDashboard(t *testing.T, s *testServer, fragment string) *chromiumtest.Tab {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT TESTED in a browser: -short")
	}
	tb := chromiumtest.Open(t, s.url+"/"+fragment)
	tb.WaitFor(`document.getElementById("connection")?.textContent`, "live")
	return tb
}

const (
	rows   = `document.querySelectorAll("#table tbody tr[data-key]").length`
	filter = `(() => { const f = document.getElementById("filter"); f.value = %q; f.form.requestSubmit(); })()`
	active = `document.querySelector('[data-listener=echo] .figures')?.dataset.active`
)

// click clicks the first element that matches a selector.
func click(tb *chromiumtest.Tab, selector string) {
	tb.WaitFor(fmt.Sprintf(`document.querySelector(%q) != null`, selector), "true")
	tb.Eval(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// The dashboard in a browser: an operator who logs in with a ticket sees a connection appear and
// the chart move, filters, sorts, kills, and changes the cap.
func TestDashboardInChromium(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, adminhttp.Options{Interval: 100 * time.Millisecond})
	ticket := s.handler.Ticket(shell.User{Name: "console", Role: shell.Operator}, time.Hour)
	tb := openDashboard(t, s, "#ticket="+ticket)
	tb.WaitFor(`document.getElementById("user").textContent`, "console (operator)")
	tb.WaitFor(`location.hash + location.search`, "")
	tb.WaitFor(active, "0")

	clients := []net.Conn{s.dial(100), s.dial(2000), s.dial(30)}
	tb.WaitFor(active, "3")
	tb.WaitFor(`document.querySelector('[data-listener=echo] [data-chart=connections]')?.dataset.top`, "3") // the line has moved
	tb.WaitFor(`document.querySelector('[data-listener=echo] [data-chart=connections] canvas') != null`, "true")

	tb.Eval(fmt.Sprintf(filter, "listener=echo"))
	tb.WaitFor(rows, "3")
	peers := `[...document.querySelectorAll("#table tbody tr[data-key]")].map((tr) => tr.cells[2].textContent).join(" ")`
	click(tb, "#table thead th:nth-child(7) button") // read, the largest first
	addr := func(nc net.Conn) string { return nc.LocalAddr().String() }
	tb.WaitFor(peers, strings.Join([]string{addr(clients[1]), addr(clients[0]), addr(clients[2])}, " "))
	click(tb, "#table thead th:nth-child(7) button")
	tb.WaitFor(peers, strings.Join([]string{addr(clients[2]), addr(clients[0]), addr(clients[1])}, " "))
	tb.Eval(fmt.Sprintf(filter, "listener=echo read>1000"))
	tb.WaitFor(peers, addr(clients[1]))

	// Kill asks for confirmation, in which Cancel is one way out.
	click(tb, "#table tbody [data-action=kill]")
	tb.WaitFor(`document.getElementById("dialog").open`, "true")
	click(tb, "dialog menu button:first-child")
	tb.WaitFor(`document.getElementById("dialog").open`, "false")
	tb.WaitFor(rows, "1")
	click(tb, "#table tbody [data-action=kill]")
	click(tb, "dialog button.primary")
	tb.WaitFor(rows, "0")
	tb.WaitFor(active, "2")
	if n, err := clients[1].Read(make([]byte, 1)); err == nil {
		t.Errorf("killed connection: got %d bytes, want its end", n)
	}

	click(tb, "[data-listener=echo] [data-action=cap]")
	tb.WaitFor(`document.querySelector("dialog input").value`, "20000")
	tb.Eval(`document.querySelector("dialog input").select()`)
	tb.Type("7")
	tb.Key("Enter")
	s.waitFor("the cap", func() bool { return s.listener("echo").Info().MaxConnections == 7 })
	tb.WaitFor(`document.querySelector('[data-listener=echo] .figures span:nth-child(2)').textContent`, "cap 7")

	s.wantAudit("console kill, console cap")
}

// All connections that match a filter are killed after a confirmation with their number, by the
// keyboard as far as possible.
func TestDashboardKillsAllThatMatch(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, adminhttp.Options{Interval: 100 * time.Millisecond})
	ticket := s.handler.Ticket(shell.User{Name: "console", Role: shell.Operator}, time.Hour)
	tb := openDashboard(t, s, "#ticket="+ticket)
	s.dial(100)
	s.dial(2000)
	s.dial(30)
	tb.WaitFor(active, "3")
	tb.Key("/")
	tb.WaitFor(`document.activeElement.id`, "filter")
	tb.Eval(`document.activeElement.select()`)
	tb.Type("listener=echo read<1000")
	tb.Key("Enter")
	tb.WaitFor(rows, "2")
	click(tb, "[data-bulk=kill]")
	tb.WaitFor(`document.querySelector("dialog .body").textContent.startsWith("2 connections match")`, "true")
	click(tb, "dialog button.primary")
	tb.WaitFor(active, "1")
	tb.Eval(`[...document.querySelectorAll("[role=tab]")].find((t) => t.textContent === "Recently closed").click()`)
	tb.Eval(fmt.Sprintf(filter, "reason=killed"))
	tb.WaitFor(rows, "2")
	s.wantAudit("console kill")
}

// wantAudit compares the users and the names of the audited commands.
func (s *testServer) wantAudit(want string) {
	s.t.Helper()
	var lines []string
	for _, e := range s.audited() {
		lines = append(lines, e.User.Name+" "+e.Command)
	}
	if got := strings.Join(lines, ", "); got != want {
		s.t.Errorf("audit: got %s, want %s", got, want)
	}
}

// The commands end and ban have buttons, whose flags have fields, and labels have a column in which
// what a peer has chosen is text.
func TestDashboardEndsBansAndLabels(t *testing.T) {
	t.Parallel()
	const markup = `<b>ann</b>`
	s := newTestServer(t, adminhttp.Options{Interval: 100 * time.Millisecond})
	l, err := s.server.StartListener("labelled", transport.TCP{}, ranch.Options{
		Addr: "127.0.0.1:0", Logger: discardLogger, Networks: new(conns.Networks),
	}, protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		if err := conn.SetLabel("user", markup); err != nil {
			return err
		}
		return echo.Protocol{}.Serve(ctx, conn)
	}))
	if err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}} // a ban of the operator's own address is refused
	dial := func() net.Conn {
		nc, err := dialer.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Skipf("SKIPPED: %v; run on Linux, where 127.0.0.2 exists: go test ./ranch/admin/adminhttp -run Dashboard", err)
		}
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(timeout))
		nc.Write([]byte("x"))
		nc.Read(make([]byte, 1)) // the label is set
		return nc
	}
	wantEnd := func(nc net.Conn, reason conns.Reason) {
		t.Helper()
		if n, err := nc.Read(make([]byte, 1)); err == nil {
			t.Errorf("got %d bytes, want the end of the connection", n)
		}
		s.waitFor("the reason "+reason.Error(), func() bool {
			closed := l.RecentlyClosed()
			return len(closed) > 0 && closed[0].Reason == reason
		})
	}
	first := dial()
	tb := openDashboard(t, s, "#ticket="+s.handler.Ticket(shell.User{Name: "console", Role: shell.Operator}, time.Hour))
	tb.Eval(fmt.Sprintf(filter, "label.user="+markup))
	tb.WaitFor(rows, "1")
	tb.WaitFor(`[...document.querySelectorAll("#table tbody td")].some((td) => td.textContent.includes(`+strconv.Quote(markup)+`) && td.querySelector("b") == null)`, "true")
	click(tb, "#table tbody [data-action=end]")
	click(tb, "dialog button.primary")
	tb.WaitFor(`document.getElementById("notice").textContent.startsWith("end ")`, "true")
	wantEnd(first, conns.EndRequested)

	tb.WaitFor(rows, "0")
	second := dial()
	tb.WaitFor(rows, "1")
	click(tb, "#table tbody [data-action=ban]")
	tb.WaitFor(`[...document.querySelectorAll("dialog input")].map((i) => i.name + "=" + i.value).join(" ")`, "network=127.0.0.2 for=1h reason=")
	tb.Eval(`document.querySelector("dialog input").value = "0.0.0.0/0"`)
	click(tb, "dialog button.primary")
	tb.WaitFor(`document.querySelector("dialog .body").textContent`, "0.0.0.0/0 contains all addresses.") // which requires --yes
	click(tb, "dialog button.primary")
	tb.WaitFor(`document.getElementById("notice").textContent.startsWith("ban 0.0.0.0/0 – ")`, "true")
	wantEnd(second, conns.Banned)
	s.wantAudit("console end, console ban, console ban")
}

// The nodes of a cluster have a table, in which an operator drains one of them after a
// confirmation.
func TestDashboardDrainsNode(t *testing.T) {
	t.Parallel()
	nodes := shell.Command{Name: "nodes", Help: "Nodes.", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
		c.Return(shell.Table{Columns: []shell.Column{{Key: "node", Title: "NODE"}, {Key: "state", Title: "STATE"}, {Key: "connections", Title: "CONNECTIONS"}},
			Rows: [][]any{{"a", "ready", 1}, {"<b>", "ready", 2}}})
		return nil
	}}
	drained := make(chan string, 1)
	drain := shell.Command{Name: "drain", Help: "Drain.", Role: shell.Operator, Changes: true, MaxArgs: 1,
		Flags: []shell.Flag{{Name: "node", Value: "NODE"}, {Name: "spread", Value: "TIME"}, {Name: "timeout", Value: "TIME"}},
		Run: func(_ context.Context, c *shell.Call) error {
			drained <- fmt.Sprint(c.Args, c.Flags)
			return nil
		}}
	s := newTestServer(t, adminhttp.Options{Interval: 100 * time.Millisecond, Commands: []shell.Command{nodes, drain}})
	tb := openDashboard(t, s, "#ticket="+s.handler.Ticket(shell.User{Name: "console", Role: shell.Operator}, time.Hour))
	tb.WaitFor(`[...document.querySelectorAll("[role=tab]")].some((t) => t.textContent === "Nodes")`, "true")
	tb.Eval(`[...document.querySelectorAll("[role=tab]")].find((t) => t.textContent === "Nodes").click()`)
	tb.WaitFor(`document.querySelectorAll("#table tbody [data-action=drain-node]").length`, "2")
	tb.Eval(`document.querySelectorAll("#table tbody [data-action=drain-node]")[1].click()`)
	tb.WaitFor(`document.querySelector("dialog h2").textContent`, "Drain node <b>")
	click(tb, "dialog button.primary")
	if got, want := <-drained, "[all] map[node:<b> spread:30s timeout:30s]"; got != want {
		t.Errorf("drain: got %s, want %s", got, want)
	}
}

// A viewer sees no buttons that change something, and what peers and programs provide appears as
// text.
func TestDashboardOfViewer(t *testing.T) {
	t.Parallel()
	const markup = `<img src=x onerror=hacked=1><script>hacked=1</script>`
	nasty := shell.Command{Name: "topics", Help: "Topics.", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
		c.Return(shell.Table{Columns: []shell.Column{{Key: "topic", Title: markup}}, Rows: [][]any{{markup}}})
		return nil
	}}
	s := newTestServer(t, adminhttp.Options{Interval: 100 * time.Millisecond, Commands: []shell.Command{nasty}})
	s.start(markup, transport.TCP{}, "127.0.0.1:0", echo.Protocol{})
	tb := openDashboard(t, s, "")
	tb.WaitFor(`document.querySelectorAll(".listener").length`, "3")
	tb.WaitFor(`document.querySelectorAll("[data-action], [data-bulk]").length`, "0")
	tb.WaitFor(`document.getElementById("sign-in").hidden`, "false")
	tb.Eval(`[...document.querySelectorAll("[role=tab]")].find((t) => t.textContent === "Topics").click()`)
	tb.WaitFor(`document.querySelector("#table tbody td")?.textContent`, markup)
	tb.WaitFor(`[...document.querySelectorAll(".listener h2")].some((h) => h.textContent === `+strconv.Quote(markup)+`)`, "true")
	tb.WaitFor(`typeof hacked + document.querySelectorAll("main img, main script").length`, "undefined0")
	tb.WaitFor(`(() => { try { document.body.innerHTML = "x"; return "accepted"; } catch { return "refused"; } })()`, "refused") // by the Content-Security-Policy

	click(tb, "#sign-in")
	tb.WaitFor(`document.activeElement?.name`, "token")
	tb.Type(operatorToken)
	tb.Key("Enter")
	tb.WaitFor(`document.getElementById("user").textContent`, "token ops (operator)")
	tb.WaitFor(`document.querySelector("[data-action=cap]") != null`, "true")
}

// With many connections a page of them is shown, and pages follow each other.
func TestDashboardPages(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, adminhttp.Options{Interval: 100 * time.Millisecond})
	for range 120 {
		s.dial(0)
	}
	s.waitFor("120 connections", func() bool { return s.listener("echo").Info().AllConnections == 120 })
	tb := openDashboard(t, s, "")
	tb.Eval(fmt.Sprintf(filter, "listener=echo"))
	tb.WaitFor(`document.getElementById("range").textContent`, "1 to 50 of 120")
	tb.Eval(`document.activeElement.blur()`)
	tb.Key("n")
	tb.Key("n")
	tb.WaitFor(`document.getElementById("range").textContent`, "101 to 120 of 120")
	tb.WaitFor(rows, "20")
	s.run("kill", `{"args":["listener=echo"],"flags":{"yes":true}}`)
	tb.WaitFor(rows, "0")
	tb.Eval(fmt.Sprintf(filter, "idel>1s"))
	tb.WaitFor(`document.getElementById("filter-error").textContent.includes("did you mean idle?")`, "true")
	tb.Eval(`document.activeElement.blur()`)
	tb.Key("?")
	tb.WaitFor(`document.getElementById("dialog").open`, "true")
}

// The page reconnects after the server was away, and fits the width of a telephone.
func TestDashboardOnTelephone(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, adminhttp.Options{Interval: 100 * time.Millisecond})
	s.dial(5)
	tb := openDashboard(t, s, "")
	tb.Size(390, 844, true)
	tb.WaitFor(rows+` > 0`, "true")
	tb.WaitFor(`document.documentElement.scrollWidth <= 390`, "true")
	s.listener("http").Suspend()
	s.listener("http").Kill(conns.Query{})
	tb.WaitFor(`document.getElementById("connection").textContent`, "disconnected")
	s.listener("http").Resume()
	tb.WaitFor(`document.getElementById("connection").textContent`, "live")
}

// TestDashboardScreenshots writes the images of docs/dashboard.md.
func TestDashboardScreenshots(t *testing.T) {
	if os.Getenv(screenshotEnv) == "" {
		t.Skip("SKIPPED: writes images of the dashboard; to run it: GORANCH_SCREENSHOTS=1 go test ./ranch/admin/adminhttp -run Screenshots")
	}
	s := newTestServer(t, adminhttp.Options{Interval: 200 * time.Millisecond})
	tb := openDashboard(t, s, "#ticket="+s.handler.Ticket(shell.User{Name: "console", Role: shell.Operator}, time.Hour))
	s.listener("echo").SetMaxConnections(60)
	for n := range 45 { // traffic for the charts
		s.dial(100 * (n%7 + 1))
		if n%4 == 3 {
			s.dial(10).Close()
		}
		time.Sleep(150 * time.Millisecond)
	}
	tb.Eval(fmt.Sprintf(filter, "listener=echo"))
	click(tb, "#table thead th:nth-child(7) button")
	for name, theme := range map[string]string{"dashboard-light.png": "light", "dashboard-dark.png": "dark"} {
		tb.Eval(`localStorage.setItem("goranch-theme", "` + map[string]string{"light": "", "dark": "light"}[theme] + `")`)
		click(tb, "#theme")
		time.Sleep(500 * time.Millisecond)
		tb.Screenshot(filepath.Join("../../../docs/img", name))
	}
	tb.Size(390, 844, true)
	time.Sleep(time.Second)
	tb.Screenshot("../../../docs/img/dashboard-phone.png")
}
