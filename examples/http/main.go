// Command http runs a net/http server behind the connection cap of a listener: 200 clients connect
// at once, at most 20 connections are served at a time, and the listener is drained while a slow
// response is in progress. It prints the result, and fails if the cap was exceeded or a response
// was lost.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

type connKey struct{}

// newServer returns a server whose path /slow closes begun and then waits for finish.
func newServer(begun chan<- struct{}, finish <-chan struct{}) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		conn := r.Context().Value(connKey{}).(*transport.Conn)
		fmt.Fprintf(w, "hello, connection %d\n", conn.ID())
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-finish
		fmt.Fprintln(w, "in full")
	})
	return &http.Server{
		Handler: mux,
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, transport.Of(nc))
		},
	}
}

func main() {
	begun, finish := make(chan struct{}), make(chan struct{})
	srv := newServer(begun, finish)
	nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv), Refuse: netlisten.RefuseHTTP})
	l, err := ranch.StartListener("web", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", MaxConnections: 20, PostListen: nl.PostListen}, nl)
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(nl) }()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + nl.Addr().String()
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := get(client, url); err != nil {
				log.Print(err)
				return
			}
			answered.Add(1)
		})
	}
	wg.Wait()
	fmt.Printf("answered %d of 200 requests on at most %d connections at a time\n", answered.Load(), l.Info().PeakConnections)

	slow := make(chan string)
	go func() {
		body, err := get(client, url+"/slow")
		if err != nil {
			log.Fatal(err)
		}
		slow <- body
	}()
	<-begun
	time.AfterFunc(50*time.Millisecond, func() { close(finish) })
	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := ranch.Drain(limit); err != nil {
		log.Fatal(err)
	}
	fmt.Print("drained; the response in progress was sent ", <-slow)
	nl.Shutdown(limit) // makes Serve return
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if answered.Load() != 200 || l.Info().PeakConnections > 20 {
		log.Fatal("the cap was exceeded, or a request was not answered")
	}
}

func get(c *http.Client, url string) (string, error) {
	res, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}
