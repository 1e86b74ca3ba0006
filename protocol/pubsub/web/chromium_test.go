//go:build unix

package web_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
	"goranch/transport"
)

// screenshots names the variable that has the test write docs/img/topics-page.png.
const screenshots = "GORANCH_SCREENSHOTS"

// tab is a page in a browser, driven by its debugging protocol.
type tab struct {
	t    testing.TB
	ws   *websocket.Conn
	last int
}

// openTab starts a headless Chromium with a page, or skips the test.
func openTab(t *testing.T, url string) *tab {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("NOT TESTED in a browser, there is no chromium: apt-get install -y chromium")
	}
	dir := t.TempDir()
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--remote-debugging-port=0", "--user-data-dir="+dir, "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		time.Sleep(100 * time.Millisecond) // its children still write to dir
	})
	port := ""
	waitFor(t, time.Minute, "chromium listens", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		port, _, _ = strings.Cut(string(b), "\n")
		return port != ""
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest("PUT", "http://127.0.0.1:"+port+"/json/new?about:blank", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var target struct{ WebSocketDebuggerURL string }
	if err := json.NewDecoder(resp.Body).Decode(&target); err != nil {
		t.Fatal(err)
	}
	ws, _, err := websocket.Dial(t.Context(), target.WebSocketDebuggerURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(64 << 20)
	tb := &tab{t: t, ws: ws}
	tb.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": 1100, "height": 720, "deviceScaleFactor": 1, "mobile": false})
	tb.do("Page.navigate", map[string]any{"url": url})
	return tb
}

// do calls a method of the browser.
func (tb *tab) do(method string, params map[string]any) json.RawMessage {
	tb.t.Helper()
	tb.last++
	b, err := json.Marshal(map[string]any{"id": tb.last, "method": method, "params": params})
	if err != nil {
		tb.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.t.Context(), time.Minute)
	defer cancel()
	if err := tb.ws.Write(ctx, websocket.MessageText, b); err != nil {
		tb.t.Fatal(err)
	}
	for {
		_, b, err := tb.ws.Read(ctx)
		if err != nil {
			tb.t.Fatal(err)
		}
		var a struct {
			ID     int
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(b, &a); err != nil {
			tb.t.Fatal(err)
		}
		if a.Error != nil {
			tb.t.Fatalf("%s: %s", method, a.Error)
		}
		if a.ID == tb.last {
			return a.Result
		}
	}
}

// eval returns what a script on the page comes to, as text.
func (tb *tab) eval(script string) string {
	tb.t.Helper()
	var r struct{ Result struct{ Value any } }
	if err := json.Unmarshal(tb.do("Runtime.evaluate", map[string]any{"expression": "String(" + script + ")"}), &r); err != nil {
		tb.t.Fatal(err)
	}
	return fmt.Sprint(r.Result.Value)
}

func waitFor(t testing.TB, d time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long: %s", what)
		}
	}
}

// The page in a browser: what a publisher sends over TCP, in the old way, appears in it as text,
// whatever it is; what is published in the page arrives; the page comes back after the connection was lost.
func TestPageInChromium(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in a browser: -short")
	}
	tn := found(t, pubsub.Options{}, web.Options{})
	tcp := tn.listen(transport.TCP{}, "127.0.0.1:0")
	t.Cleanup(func() { tcp.Stop() })
	tb := openTab(t, tn.url()+"#topic=events&topic=news.*")
	publish := func(message string) {
		nc, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		io.WriteString(nc, "<regular-socket/>\x00PUBLISH\x00"+message+"\x00")
		io.Copy(io.Discard, nc)
	}
	until := func(script, want string) {
		t.Helper()
		got := ""
		for end := time.Now().Add(30 * time.Second); got != want; time.Sleep(20 * time.Millisecond) {
			if got = tb.eval(script); got != want && time.Now().After(end) {
				t.Fatalf("%s is %s, want %s\n%s", script, got, want, tb.eval("document.body.innerText"))
			}
		}
	}
	const first = `document.querySelector("#messages li pre")?.textContent`
	until(`document.querySelectorAll("#topics button:not(.pending)").length`, "2")
	publish(`{"topic":"events","event":"test_event","message_id":"","data":"test"}`)
	until(first, "test")
	publish(`{"topic":"events","token":"1","error":"x","ack":true,"event":"measured","data":{"temperature":21.5,"unit":"°C"}}`)
	until(first, `{"temperature":21.5,"unit":"°C"}`)
	tb.eval(`(() => { const f = document.getElementById("publish"); f.elements.topic.value = "news.go"; f.elements.event.value = "release";
		f.elements.data.value = '{"version": "1.26"}'; f.requestSubmit(); })()`)
	until(`document.getElementById("published").textContent`, "1 subscriber")
	until(first, `{"version":"1.26"}`)
	shoot(tb)
	const evil = `<img src=x onerror=hacked=1><script>hacked=1</script>`
	publish(`{"topic":"news.` + evil + `","event":"` + evil + `","message_id":"","data":"` + evil + `"}`)
	until(first, evil)
	until(`typeof hacked + document.querySelectorAll("#messages img, #messages script").length`, "undefined0")
	until(`(() => { try { document.body.innerHTML = "x"; return "taken"; } catch { return "refused"; } })()`, "refused") // by the policy
	tb.eval(`ws.close()`)
	waitFor(t, 30*time.Second, "the page is away, or back", func() bool { return tn.attached() == 0 || tn.gw.Stats().WebSockets > 1 })
	publish(`{"topic":"events","event":"later","message_id":"","data":"while away"}`)
	until(first, "while away")
	until(`document.getElementById("status").textContent`, "connected")
	until(`document.getElementById("count").textContent`, "5")
}

// shoot writes a picture of the page, if it is wanted.
func shoot(tb *tab) {
	tb.t.Helper()
	if os.Getenv(screenshots) == "" {
		return
	}
	var shot struct{ Data string }
	if err := json.Unmarshal(tb.do("Page.captureScreenshot", map[string]any{"format": "png"}), &shot); err != nil {
		tb.t.Fatal(err)
	}
	b, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		tb.t.Fatal(err)
	}
	dir := "../../../docs/img"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "topics-page.png"), b, 0o644); err != nil {
		tb.t.Fatal(err)
	}
}

// The page asks for nothing from elsewhere, and allows nothing.
func TestPage(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{})
	for path, kind := range map[string]string{"": "text/html; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "page.css": "text/css; charset=utf-8"} {
		resp, err := tn.web.Client().Get(tn.url() + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		policy := resp.Header.Get("Content-Security-Policy")
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != kind || !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%q: %v, %s, %v", path, err, resp.Status, resp.Header)
		}
		for _, no := range []string{"http://", "https://", "innerHTML", "eval(", "<style", " style=", " onclick="} {
			if strings.Contains(string(b), no) {
				t.Errorf("%q contains %s", path, no)
			}
		}
	}
	none := found(t, pubsub.Options{}, web.Options{NoPage: true})
	resp, err := none.web.Client().Get(none.url())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("without a page: %s", resp.Status)
	}
}
