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

// screenshotEnv is the environment variable that makes the test write docs/img/topics-page.png.
const screenshotEnv = "GORANCH_SCREENSHOTS"

// tab is a page in a browser, controlled through the DevTools protocol.
type tab struct {
	t      testing.TB
	ws     *websocket.Conn
	lastID int
}

// openTab opens a page in a headless Chromium, or skips the test if there is none.
func openTab(t *testing.T, url string) *tab {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("NOT TESTED in a browser: chromium is not installed (apt-get install -y chromium)")
	}
	dir := t.TempDir()
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--remote-debugging-port=0", "--user-data-dir="+dir, "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start of chromium: got %v, want no error", err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		time.Sleep(100 * time.Millisecond) // its child processes still write to dir
	})
	port := ""
	waitFor(t, "DevTools port of chromium", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		port, _, _ = strings.Cut(string(b), "\n")
		return port != ""
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest("PUT", "http://127.0.0.1:"+port+"/json/new?about:blank", nil)
	if err != nil {
		t.Fatalf("http.NewRequest: got %v, want no error", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("DevTools page: got %v, want no error", err)
	}
	defer resp.Body.Close()
	var target struct{ WebSocketDebuggerURL string }
	if err := json.NewDecoder(resp.Body).Decode(&target); err != nil {
		t.Fatalf("JSON of DevTools: got %v, want no error", err)
	}
	ws, _, err := websocket.Dial(t.Context(), target.WebSocketDebuggerURL, nil)
	if err != nil {
		t.Fatalf("DevTools connection: got %v, want no error", err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(64 << 20)
	tb := &tab{t: t, ws: ws}
	tb.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 1100, "height": 720, "deviceScaleFactor": 1, "mobile": false})
	tb.call("Page.navigate", map[string]any{"url": url})
	return tb
}

// call calls a method of the DevTools protocol.
func (tb *tab) call(method string, params map[string]any) json.RawMessage {
	tb.t.Helper()
	tb.lastID++
	b, err := json.Marshal(map[string]any{"id": tb.lastID, "method": method, "params": params})
	if err != nil {
		tb.t.Fatalf("json.Marshal: got %v, want no error", err)
	}
	ctx, cancel := context.WithTimeout(tb.t.Context(), time.Minute)
	defer cancel()
	if err := tb.ws.Write(ctx, websocket.MessageText, b); err != nil {
		tb.t.Fatalf("DevTools request: got %v, want no error", err)
	}
	for {
		_, b, err := tb.ws.Read(ctx)
		if err != nil {
			tb.t.Fatalf("DevTools answer: got %v, want no error", err)
		}
		var a struct {
			ID     int
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(b, &a); err != nil {
			tb.t.Fatalf("JSON of DevTools: got %v, want no error", err)
		}
		if a.Error != nil {
			tb.t.Fatalf("%s: got the error %s, want none", method, a.Error)
		}
		if a.ID == tb.lastID {
			return a.Result
		}
	}
}

// eval returns the value of a JavaScript expression, as text.
func (tb *tab) eval(script string) string {
	tb.t.Helper()
	var r struct{ Result struct{ Value any } }
	if err := json.Unmarshal(tb.call("Runtime.evaluate", map[string]any{"expression": "String(" + script + ")"}), &r); err != nil {
		tb.t.Fatalf("JSON of DevTools: got %v, want no error", err)
	}
	return fmt.Sprint(r.Result.Value)
}

// The page in a browser: messages from a Janus publisher over TCP appear as text, even if they
// contain markup; the page publishes; and it resumes its session after its connection was lost.
func TestPageInChromium(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in a browser: -short")
	}
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	tcp := srv.listen(transport.TCP{}, "127.0.0.1:0")
	t.Cleanup(func() { tcp.Stop() })
	tb := openTab(t, srv.url()+"#topic=events&topic=news.*")
	publish := func(message string) {
		nc, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatalf("net.Dial: got %v, want no error", err)
		}
		defer nc.Close()
		io.WriteString(nc, "<regular-socket/>\x00PUBLISH\x00"+message+"\x00")
		io.Copy(io.Discard, nc)
	}
	waitForValue := func(script, want string) {
		t.Helper()
		got := ""
		for end := time.Now().Add(30 * time.Second); got != want; time.Sleep(20 * time.Millisecond) {
			if got = tb.eval(script); got != want && time.Now().After(end) {
				t.Fatalf("%s: got %s, want %s; the page is\n%s", script, got, want, tb.eval("document.body.innerText"))
			}
		}
	}
	const first = `document.querySelector("#messages li pre")?.textContent`
	waitForValue(`document.querySelectorAll("#topics button:not(.pending)").length`, "2")
	publish(`{"topic":"events","event":"test_event","message_id":"","data":"test"}`)
	waitForValue(first, "test")
	publish(`{"topic":"events","token":"1","error":"x","ack":true,"event":"measured","data":{"temperature":21.5,"unit":"°C"}}`)
	waitForValue(first, `{"temperature":21.5,"unit":"°C"}`)
	tb.eval(`(() => { const f = document.getElementById("publish"); f.elements.topic.value = "news.go"; f.elements.event.value = "release";
		f.elements.data.value = '{"version": "1.26"}'; f.requestSubmit(); })()`)
	waitForValue(`document.getElementById("published").textContent`, "1 subscriber")
	waitForValue(first, `{"version":"1.26"}`)
	screenshot(tb)
	const markup = `<img src=x onerror=hacked=1><script>hacked=1</script>`
	publish(`{"topic":"news.` + markup + `","event":"` + markup + `","message_id":"","data":"` + markup + `"}`)
	waitForValue(first, markup)
	waitForValue(`typeof hacked + document.querySelectorAll("#messages img, #messages script").length`, "undefined0")
	waitForValue(`(() => { try { document.body.innerHTML = "x"; return "accepted"; } catch { return "refused"; } })()`, "refused") // by the Content-Security-Policy
	tb.eval(`ws.close()`)
	waitFor(t, "loss of the connection", func() bool { return srv.attachedSessions() == 0 || srv.gateway.Stats().WebSockets > 1 })
	publish(`{"topic":"events","event":"later","message_id":"","data":"while disconnected"}`)
	waitForValue(first, "while disconnected")
	waitForValue(`document.getElementById("status").textContent`, "connected")
	waitForValue(`document.getElementById("count").textContent`, "5")
}

// screenshot writes an image of the page if screenshotEnv is set.
func screenshot(tb *tab) {
	tb.t.Helper()
	if os.Getenv(screenshotEnv) == "" {
		return
	}
	var image struct{ Data string }
	if err := json.Unmarshal(tb.call("Page.captureScreenshot", map[string]any{"format": "png"}), &image); err != nil {
		tb.t.Fatalf("JSON of DevTools: got %v, want no error", err)
	}
	b, err := base64.StdEncoding.DecodeString(image.Data)
	if err != nil {
		tb.t.Fatalf("screenshot: got %v, want no error", err)
	}
	dir := "../../../docs/img"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.t.Fatalf("os.MkdirAll: got %v, want no error", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "topics-page.png"), b, 0o644); err != nil {
		tb.t.Fatalf("os.WriteFile: got %v, want no error", err)
	}
}

// The page loads nothing from other hosts, and its policy forbids it.
func TestPage(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	for path, kind := range map[string]string{"": "text/html; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "page.css": "text/css; charset=utf-8"} {
		resp, err := srv.http.Client().Get(srv.url() + path)
		if err != nil {
			t.Fatalf("GET: got %v, want no error", err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		policy := resp.Header.Get("Content-Security-Policy")
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != kind || !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%q: got %v, %s, %v, want status 200 with type %s and a strict policy", path, err, resp.Status, resp.Header, kind)
		}
		for _, forbidden := range []string{"http://", "https://", "innerHTML", "eval(", "<style", " style=", " onclick="} {
			if strings.Contains(string(b), forbidden) {
				t.Errorf("%q: got %s in it, want none", path, forbidden)
			}
		}
	}
	noPage := newTestServer(t, pubsub.Options{}, web.Options{NoPage: true})
	resp, err := noPage.http.Client().Get(noPage.url())
	if err != nil {
		t.Fatalf("GET: got %v, want no error", err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("with NoPage: got %s, want 404", resp.Status)
	}
}
