package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"goranch/protocol/netlisten"
)

func init() {
	register(engine{
		name: "nethttp", about: "net/http on a listener of package net", http: true,
		start: func(serveConfig) (string, error) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return "", err
			}
			go httpServer().Serve(ln)
			return ln.Addr().String(), nil
		},
	})
	register(engine{
		name: "haproxy-http", about: "haproxy, one thread, which answers itself (http-request return; requires Debian's package haproxy)", http: true,
		httpAnswer: haproxyAnswer, start: startHAProxyHTTP, missing: notInstalled("haproxy"),
	})
	register(engine{
		name: "goranch-nethttp", about: "the same server on a netlisten.Listener of this library", http: true, limit: true,
		start: func(cfg serveConfig) (string, error) {
			srv := httpServer()
			nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv), Refuse: netlisten.RefuseHTTP})
			go srv.Serve(nl)
			return startGoranch(nl)(cfg)
		},
	})
}

// haproxyAnswer is what haproxy answers to httpRequest.
func haproxyAnswer() []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: text/plain\r\n\r\n%s", httpBody, strings.Repeat("x", httpBody))
}

// startHAProxyHTTP starts haproxy without a server behind it: it answers each request itself.
func startHAProxyHTTP(serveConfig) (string, error) {
	return startConfigured("haproxy", []string{"-db", "-q", "-f"}, func(port string) string {
		return fmt.Sprintf("global\n nbthread 1\n maxconn %d\ndefaults\n mode http\n timeout client 5m\n timeout http-keep-alive 5m\n"+
			"frontend web\n bind 127.0.0.1:%s backlog 4096\n http-request return status 200 content-type text/plain string %s\n",
			relayConns(), port, strings.Repeat("x", httpBody))
	})
}

const httpRequest = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"

// httpAnswer returns the answer to httpRequest.
func httpAnswer() []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", httpBody, strings.Repeat("x", httpBody))
}

// httpServer answers with a body of httpBody bytes, without a date: each answer is the same.
func httpServer() *http.Server {
	body := []byte(strings.Repeat("x", httpBody))
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = nil
			w.Header()["Content-Type"] = []string{"text/plain"}
			w.Write(body)
		}),
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
}

// httpBody is the size of the body of an answer in bytes.
const httpBody = 64
