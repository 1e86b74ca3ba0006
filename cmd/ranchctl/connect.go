package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"goranch/internal/console"
)

// server is where to connect, and how.
type server struct {
	addr  console.Address
	dial  func(ctx context.Context) (net.Conn, error)
	token func() (string, error)
}

// server reads the files that flags name, and warns of what is dangerous.
func (f *flags) server(warn io.Writer) (*server, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	addr, err := console.ParseAddress(f.Connect)
	if err != nil {
		return nil, fmt.Errorf("--connect: %w", err)
	}
	config, err := f.tlsConfig()
	if err != nil {
		return nil, err
	}
	s := &server{addr: addr, dial: addr.Dialer(config), token: f.token}
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	if addr.TLS && f.InsecureSkipVerify {
		fmt.Fprintln(warn, "ranchctl: warning: the server's certificate is not verified; anybody on the way can read and change everything")
	}
	if token != "" && !addr.TLS && !local(addr) {
		fmt.Fprintln(warn, "ranchctl: warning: the token travels in the clear; use tls://")
	}
	return s, nil
}

// local reports whether what is sent stays on this machine.
func local(a console.Address) bool {
	host, _, _ := net.SplitHostPort(a.Addr.Address)
	ip, err := netip.ParseAddr(host)
	return a.Addr.Network == "unix" || host == "localhost" || err == nil && ip.IsLoopback()
}

// token returns the secret, read anew for each connection: it may have been replaced.
func (f *flags) token() (string, error) {
	if f.TokenFile == "" {
		return strings.TrimSpace(os.Getenv("RANCHCTL_TOKEN")), nil
	}
	file, err := os.Open(f.TokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer file.Close()
	line, err := bufio.NewReader(io.LimitReader(file, 64<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("--token-file %s: its first line is empty", f.TokenFile)
	}
	return line, nil
}

func (f *flags) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{ServerName: f.ServerName, InsecureSkipVerify: f.InsecureSkipVerify}
	var faults []error
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		c.RootCAs = x509.NewCertPool()
		if err == nil && !c.RootCAs.AppendCertsFromPEM(pem) {
			err = fmt.Errorf("%s: no certificate in it", f.CA)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("--ca: %w", err))
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			faults = append(faults, fmt.Errorf("--cert, --key: %w", err))
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, errors.Join(faults...)
}
