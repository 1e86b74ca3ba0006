// Command ssh runs a server of gliderlabs/ssh behind the connection cap of a listener. It answers a
// command with its arguments, and repeats the lines of a client without a command. Anyone may log
// in.
package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"goranch/conns"
	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:2222", "address to listen on")
	flag.Parse()
	s, err := start(*addr, 100)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	if err := s.stop(); err != nil {
		log.Fatal(err)
	}
}

type server struct {
	*ranch.Listener
	clients *netlisten.Listener
}

// start starts a server for up to limit clients at once.
func start(addr string, limit int) (*server, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := gossh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	srv := &ssh.Server{Handler: handle, HostSigners: []ssh.Signer{signer}}

	nl := netlisten.New(netlisten.Options{
		Stop:   func(ctx context.Context) { srv.Shutdown(ctx) }, // waits for the sessions
		Refuse: netlisten.RefuseGreeting("Too many connections\r\n"),
	})
	l, err := ranch.StartListener("ssh", transport.TCP{}, ranch.Options{
		Addr: addr, MaxConnections: limit, RefuseAfter: ranch.RefuseAtOnce, ShutdownTimeout: 30 * time.Second,
		Limits: conns.Limits{PerAddress: 20, IdleTimeout: 10 * time.Minute},
	}, nl)
	if err != nil {
		return nil, err
	}
	go srv.Serve(nl)
	return &server{l, nl}, nil
}

// stop waits for the sessions, until the shutdown timeout.
func (s *server) stop() error {
	err := ranch.Drain(context.Background(), "ssh")
	s.clients.Shutdown(context.Background()) // also when there was no connection
	return err
}

func handle(s ssh.Session) {
	if args := s.Command(); len(args) > 0 {
		fmt.Fprintf(s, "hello %q, your command is %q\n", s.User(), args)
		return
	}
	lines := bufio.NewScanner(s)
	for lines.Scan() {
		fmt.Fprintln(s, strings.ToUpper(lines.Text()))
	}
}
