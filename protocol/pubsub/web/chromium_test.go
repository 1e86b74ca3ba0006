//go:build unix

package web_test

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"goranch/internal/chromiumtest"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
	"goranch/transport"
)

// screenshotEnv is the environment variable that makes the test write docs/img/topics-page.png.
const screenshotEnv = "GORANCH_SCREENSHOTS"

// The page in a browser: messages from a Janus publisher over TCP appear as text, even if they
// contain markup; the page publishes; and it resumes its session after its connection was lost.
func TestPageInChromium(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("NOT TESTED in a browser: -short")
	}
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	tcp := srv.listen(transport.TCP{}, "127.0.0.1:0")
	t.Cleanup(func() { tcp.Stop() })
	tb := chromiumtest.Open(t, srv.url()+"#topic=events&topic=news.*")
	publish := func(message string) {
		nc, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatalf("net.Dial: got %v, want no error", err)
		}
		defer nc.Close()
		io.WriteString(nc, "<regular-socket/>\x00PUBLISH\x00"+message+"\x00")
		io.Copy(io.Discard, nc)
	}
	const first = `document.querySelector("#messages li pre")?.textContent`
	tb.WaitFor(`document.querySelectorAll("#topics button:not(.pending)").length`, "2")
	publish(`{"topic":"events","event":"test_event","message_id":"","data":"test"}`)
	tb.WaitFor(first, "test")
	publish(`{"topic":"events","token":"1","error":"x","ack":true,"event":"measured","data":{"temperature":21.5,"unit":"°C"}}`)
	tb.WaitFor(first, `{"temperature":21.5,"unit":"°C"}`)
	tb.Eval(`(() => { const f = document.getElementById("publish"); f.elements.topic.value = "news.go"; f.elements.event.value = "release";
		f.elements.data.value = '{"version": "1.26"}'; f.requestSubmit(); })()`)
	tb.WaitFor(`document.getElementById("published").textContent`, "1 subscriber")
	tb.WaitFor(first, `{"version":"1.26"}`)
	if os.Getenv(screenshotEnv) != "" {
		tb.Screenshot("../../../docs/img/topics-page.png")
	}
	const markup = `<img src=x onerror=hacked=1><script>hacked=1</script>`
	publish(`{"topic":"news.` + markup + `","event":"` + markup + `","message_id":"","data":"` + markup + `"}`)
	tb.WaitFor(first, markup)
	tb.WaitFor(`typeof hacked + document.querySelectorAll("#messages img, #messages script").length`, "undefined0")
	tb.WaitFor(`(() => { try { document.body.innerHTML = "x"; return "accepted"; } catch { return "refused"; } })()`, "refused") // by the Content-Security-Policy
	tb.Eval(`ws.close()`)
	waitFor(t, "loss of the connection", func() bool { return srv.attachedSessions() == 0 || srv.gateway.Stats().WebSockets > 1 })
	publish(`{"topic":"events","event":"later","message_id":"","data":"while disconnected"}`)
	tb.WaitFor(first, "while disconnected")
	tb.WaitFor(`document.getElementById("status").textContent`, "connected")
	tb.WaitFor(`document.getElementById("count").textContent`, "5")
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
