package netlisten_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

// Example is the program of the guide; TestGuideShowsTheExamples compares them.
func Example() {
	web := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	opts := ranch.Options{Addr: "127.0.0.1:0", MaxConnections: 50, Logger: slog.New(slog.DiscardHandler)}

	srv := &http.Server{Handler: web}
	nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv), Refuse: netlisten.RefuseHTTP})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(nl) }()
	l, err := ranch.StartListener("web", transport.TCP{}, opts, nl)
	if err != nil {
		fmt.Println(err)
		return
	}

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	fmt.Println(string(body))

	limit, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := ranch.Drain(limit, "web"); err != nil { // requests in progress are answered
		fmt.Println(err)
	}
	nl.Shutdown(limit) // makes Serve return
	fmt.Println(<-served)
	// Output:
	// hello
	// http: Server closed
}

type connKey struct{}

// A handler gets the *transport.Conn from the context of its request.
func Example_connContext() {
	srv := &http.Server{
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, transport.Of(nc))
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn := r.Context().Value(connKey{}).(*transport.Conn)
			fmt.Fprint(w, conn.Transport().Name(), " ", conn.ID() > 0)
		}),
	}
	nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv)})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(nl) }()
	opts := ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}
	l, err := ranch.StartListener("context", transport.TCP{}, opts, nl)
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer http.DefaultClient.CloseIdleConnections()
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	fmt.Println(string(body))
	l.Stop()
	nl.Shutdown(context.Background())
	<-served
	// Output: tcp true
}
