package ranch_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"goranch/protocol/wslisten"
	"goranch/transport"
)

// overWebSockets are the tests for each transport that also run over WebSockets. The others need
// what this transport does not have: two listeners at once, a kernel's queue, in which a client is
// connected before it is accepted, a half-close, or an end that the client's Close does not wait
// for.
var overWebSockets = map[string]bool{
	"TestInvalidData": true, "TestCapIsExact": true, "TestRemoveConnection": true, "TestRun": true,
	"TestEventOfEndIsLast": true, "TestInfo": true, "TestRecentlyClosed": true, "TestConnectionsAndKill": true,
	"TestPanicIsLoggedWithStack": true, "TestObserverPanics": true, "TestSetOptionsTakesEffect": true, "TestSetProtocol": true,
	"TestNameIsTaken": true, "TestNoProtocolCalledAfterStop": true, "TestStopCause": true, "TestConcurrentStops": true,
	"TestSuspendAndResume": true, "TestSuspendKeepsTheCount": true, "TestTrace": true, "TestWaitForConnectionsIsWoken": true,
}

// webSocketTransport has an HTTP server for each of its listening sockets.
type webSocketTransport struct{ *wslisten.Transport }

func newWebSocketTransport(t testing.TB) webSocketTransport {
	t.Helper()
	ws, err := wslisten.New(wslisten.Options{CloseTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return webSocketTransport{ws}
}

func (t webSocketTransport) Listen(ctx context.Context, addr string) (net.Listener, error) {
	tcp, err := transport.TCP{}.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	ln, err := t.Transport.Listen(ctx, addr)
	if err != nil {
		tcp.Close()
		return nil, err
	}
	srv := &http.Server{Handler: t.Transport}
	go srv.Serve(tcp)
	return &webSocketListener{ln.(deadlineListener), tcp, srv}, nil
}

func (t webSocketTransport) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return t.Transport.Dial(ctx, "ws://"+addr+"/")
}

type deadlineListener interface {
	net.Listener
	SetDeadline(time.Time) error
}

type webSocketListener struct {
	deadlineListener
	tcp net.Listener
	srv *http.Server
}

func (l *webSocketListener) Addr() net.Addr { return l.tcp.Addr() }

func (l *webSocketListener) Close() error {
	l.deadlineListener.Close()
	return l.srv.Close() // not hijacked connections
}
