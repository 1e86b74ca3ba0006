//go:build unix

package chromiumtest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// timeout limits each wait.
const timeout = time.Minute

// Tab is a page. Its methods fail the test if the browser does.
type Tab struct {
	t      testing.TB
	ws     *websocket.Conn
	lastID int
}

// Open opens a page of 1100 by 720 pixels, or skips the test if chromium is not installed. The
// browser ends with the test.
func Open(t testing.TB, url string) *Tab {
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
	tb := &Tab{t: t, ws: connect(t, devToolsPort(t, dir))}
	tb.Size(1100, 720, false)
	tb.Call("Page.navigate", map[string]any{"url": url})
	return tb
}

// devToolsPort waits for the file in which chromium writes its port.
func devToolsPort(t testing.TB, dir string) string {
	t.Helper()
	for end := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
		b, _ := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		if port, _, _ := strings.Cut(string(b), "\n"); port != "" {
			return port
		}
		if time.Now().After(end) {
			t.Fatalf("DevTools port of chromium: got none within %v, want one", timeout)
		}
	}
}

// connect opens a page and a connection that controls it.
func connect(t testing.TB, port string) *websocket.Conn {
	t.Helper()
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
	return ws
}

// Call calls a method of the DevTools protocol.
func (tb *Tab) Call(method string, params map[string]any) json.RawMessage {
	tb.t.Helper()
	tb.lastID++
	b, err := json.Marshal(map[string]any{"id": tb.lastID, "method": method, "params": params})
	if err != nil {
		tb.t.Fatalf("json.Marshal: got %v, want no error", err)
	}
	ctx, cancel := context.WithTimeout(tb.t.Context(), timeout)
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

// Size changes the size of the page. A mobile page has the scale of a telephone.
func (tb *Tab) Size(width, height int, mobile bool) {
	tb.t.Helper()
	tb.Call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile})
}

// Eval returns the value of a JavaScript expression, as text.
func (tb *Tab) Eval(script string) string {
	tb.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	if err := json.Unmarshal(tb.Call("Runtime.evaluate", map[string]any{"expression": "String(" + script + ")"}), &r); err != nil {
		tb.t.Fatalf("JSON of DevTools: got %v, want no error", err)
	}
	if r.ExceptionDetails != nil {
		return r.ExceptionDetails.Exception.Description
	}
	return fmt.Sprint(r.Result.Value)
}

// WaitFor evaluates an expression until it has the value.
func (tb *Tab) WaitFor(script, want string) {
	tb.t.Helper()
	got := ""
	for end := time.Now().Add(timeout); got != want; time.Sleep(20 * time.Millisecond) {
		if got = tb.Eval(script); got != want && time.Now().After(end) {
			tb.t.Fatalf("%s: got %s, want %s; the page is\n%s", script, got, want, tb.Eval("document.body.innerText"))
		}
	}
}

// Key presses and releases a key: a character, or a name such as "Enter".
func (tb *Tab) Key(key string) {
	tb.t.Helper()
	down := map[string]any{"type": "keyDown", "key": key}
	switch {
	case key == "Enter":
		down["text"], down["windowsVirtualKeyCode"] = "\r", 13
	case len(key) == 1:
		down["text"] = key
	}
	tb.Call("Input.dispatchKeyEvent", down)
	tb.Call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key})
}

// Type types text into the element that has the focus.
func (tb *Tab) Type(text string) {
	tb.t.Helper()
	tb.Call("Input.insertText", map[string]any{"text": text})
}

// Screenshot writes an image of the page as PNG.
func (tb *Tab) Screenshot(path string) {
	tb.t.Helper()
	var image struct{ Data string }
	if err := json.Unmarshal(tb.Call("Page.captureScreenshot", map[string]any{"format": "png"}), &image); err != nil {
		tb.t.Fatalf("JSON of DevTools: got %v, want no error", err)
	}
	b, err := base64.StdEncoding.DecodeString(image.Data)
	if err != nil {
		tb.t.Fatalf("screenshot: got %v, want no error", err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		tb.t.Fatalf("screenshot: got %v, want no error", err)
	}
}
