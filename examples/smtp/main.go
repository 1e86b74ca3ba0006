// Command smtp runs a mail server of emersion/go-smtp on two listeners of goranch: one with
// STARTTLS, and one with TLS from the first byte. Both have one cap together; at the cap a client
// is refused with a reply 421. The server prints each mail.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"

	"goranch/conns"
	"goranch/examples/internal/selfsigned"
	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

func main() {
	plain := flag.String("smtp", "127.0.0.1:2525", "address for SMTP with STARTTLS")
	secure := flag.String("smtps", "127.0.0.1:4650", "address for SMTP over TLS")
	flag.Parse()
	s, err := start(*plain, *secure, 1000, os.Stdout)
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
	smtp          *smtp.Server
	clients       *netlisten.Listener
	plain, secure *ranch.Listener
}

// start serves mail on both addresses, for up to limit clients.
func start(plain, secure string, limit int, mail io.Writer) (s *server, err error) {
	cert, err := selfsigned.New("localhost")
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	s = &server{smtp: smtp.NewServer(backend{mail})}
	s.smtp.TLSConfig = config // offers STARTTLS
	s.smtp.Domain, s.smtp.MaxMessageBytes, s.smtp.MaxRecipients = "localhost", 1<<20, 50
	s.smtp.ReadTimeout, s.smtp.WriteTimeout = 5*time.Minute, 5*time.Minute

	s.clients = netlisten.New(netlisten.Options{
		Stop:   func(ctx context.Context) { s.smtp.Shutdown(ctx) },
		Refuse: netlisten.RefuseGreeting("421 4.3.2 localhost: too many connections\r\n"),
	})
	both, err := conns.NewShared(conns.SharedLimits{MaxConnections: limit})
	if err != nil {
		return nil, err
	}
	opts := ranch.Options{
		Addr: plain, Shared: both, RefuseAfter: ranch.RefuseAtOnce, ShutdownTimeout: 30 * time.Second,
		Limits: conns.Limits{PerAddress: 20, MaxHandshakes: 50},
	}
	go s.smtp.Serve(s.clients)
	if s.plain, err = ranch.StartListener("smtp", transport.TCP{}, opts, s.clients); err != nil {
		return nil, err
	}
	opts.Addr = secure
	s.secure, err = ranch.StartListener("smtps", transport.TLS{Config: config}, opts, s.clients)
	return s, err
}

// stop drains the server: sessions in progress may finish until the shutdown timeout.
func (s *server) stop() error {
	err := ranch.Drain(context.Background())
	s.clients.Shutdown(context.Background()) // also when there was no connection
	return err
}

// backend prints mails.
type backend struct{ out io.Writer }

func (b backend) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{out: b.out}, nil }

type session struct {
	out  io.Writer
	from string
	to   []string
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error { s.from = from; return nil }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error   { s.to = append(s.to, to); return nil }
func (s *session) Reset()                                      { s.from, s.to = "", nil }
func (s *session) Logout() error                               { return nil }

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r) // MaxMessageBytes limits it
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "mail from %q to %q: %d bytes\n", s.from, s.to, len(text))
	return err
}
