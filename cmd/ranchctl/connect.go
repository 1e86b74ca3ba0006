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
	"goranch/protocol/shell/client"
)

// server is the server to connect to.
type server struct {
	addr   console.Address
	client client.Options
}

// server reads the files that the flags name, and warns of insecure settings.
func (f *flags) server(warnings io.Writer) (*server, error) {
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
	token, err := f.token(context.Background())
	if err != nil {
		return nil, err
	}
	if addr.TLS && f.InsecureSkipVerify {
		fmt.Fprintln(warnings, "ranchctl: warning: the server's certificate is not verified:",
			"an attacker on the network can read and change everything")
	}
	if token != "" && !addr.TLS && !isLocal(addr) {
		fmt.Fprintln(warnings, "ranchctl: warning: the token is sent without encryption: use tls://")
	}
	return &server{addr: addr, client: client.Options{
		Transport: addr.Transport(config), Addr: addr.Addr.String(), Token: f.token, DialTimeout: f.ConnectTimeout,
	}}, nil
}

// isLocal reports whether connections to a stay on this machine.
func isLocal(a console.Address) bool {
	host, _, _ := net.SplitHostPort(a.Addr.Address)
	ip, err := netip.ParseAddr(host)
	return a.Addr.Network == "unix" || host == "localhost" || err == nil && ip.IsLoopback()
}

// token reads the token. It is called for each connection, because the file may have changed.
func (f *flags) token(context.Context) (string, error) {
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
		return "", fmt.Errorf("--token-file %s: the first line is empty", f.TokenFile)
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
			err = fmt.Errorf("%s: the file contains no certificate", f.CA)
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
