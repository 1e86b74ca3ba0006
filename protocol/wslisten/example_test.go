package wslisten_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"goranch/protocol"
	"goranch/protocol/wslisten"
	"goranch/ranch"
)

// shout is a protocol of lines.
type shout struct{}

func (shout) HandleData(p *protocol.Peer, line []byte) protocol.Action {
	p.Send([]byte(strings.ToUpper(string(line))))
	return protocol.Continue()
}

// Example is the program of the guide; TestGuideShowsTheExamples compares them.
func Example() {
	handle := protocol.Handle(func() protocol.Handler { return shout{} }, protocol.Options{Codec: protocol.Lines{Max: 500}})

	ws, err := wslisten.New(wslisten.Options{
		Text:      true, // browsers receive strings
		Authorize: func(r *http.Request) (any, error) { return r.FormValue("name"), nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/shout", ws)
	l, err := ranch.StartListener("shout", ws, ranch.Options{
		Addr: "/shout", MaxConnections: 5000, Logger: slog.New(slog.DiscardHandler),
	}, handle)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Stop() // before the HTTP server: clients are closed with code 1001

	srv := httptest.NewServer(mux)
	defer srv.Close()
	nc, err := ws.Dial(context.Background(), strings.Replace(srv.URL, "http", "ws", 1)+"/shout?name=ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	fmt.Fprint(nc, "hello\nwor")
	fmt.Fprint(nc, "ld\n")
	for range 2 {
		var line string
		fmt.Fscanln(nc, &line)
		fmt.Println(line)
	}
	fmt.Println(l.Info().ActiveConnections)
	// Output:
	// HELLO
	// WORLD
	// 1
}
