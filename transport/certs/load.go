package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"goranch/internal/reload"
)

// maxFile is larger than any bundle, and limits the memory that a wrong file name can use.
const maxFile = 4 << 20

// set is the content of the files read by one reload. It is not modified; a change of the ticket
// keys replaces it by a copy.
type set struct {
	certs     []Certificate
	names     map[string][]*tls.Certificate // host names and wildcards in lower case
	clientCAs *x509.CertPool                // nil: no bundles
	casSum    [32]byte                      // of the certificates in it, independent of their order

	keys   []ticketKey // newest first; never empty in the current set
	shared bool        // keys are configured, not created by this process
}

// files is the content of all files, read at one time.
type files struct {
	data map[string][]byte
	errs map[string]error
	sum  [32]byte
}

func read(o *Options) *files {
	f := &files{data: map[string][]byte{}, errs: map[string]error{}}
	h := sha256.New()
	for _, path := range o.paths() {
		b, err := reload.ReadFile(path, maxFile, nil)
		f.data[path], f.errs[path] = b, err
		fmt.Fprintf(h, "%q %d %v\n", path, len(b), err)
		h.Write(b)
	}
	h.Sum(f.sum[:0])
	return f
}

func (o *Options) paths() (list []string) {
	for _, p := range o.Pairs {
		list = append(list, p.Cert, p.Key)
	}
	list = append(list, o.ClientCAs...)
	if o.TicketKeyFile != "" {
		list = append(list, o.TicketKeyFile)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// build makes a set of the files, or reports the faults of all files.
func (f *files) build(o *Options) (*set, error) {
	s := &set{names: map[string][]*tls.Certificate{}}
	var faults []error
	for _, p := range o.Pairs {
		if err := f.addPair(s, p); err != nil {
			faults = append(faults, err)
		}
	}
	faults = append(faults, f.addClientCAs(s, o.ClientCAs))
	if path := o.TicketKeyFile; path != "" {
		keys, err := f.ticketKeys(path)
		if err != nil {
			faults = append(faults, fmt.Errorf("ticket keys %q: %w", path, err))
		}
		s.keys, s.shared = sharedKeys(keys), true
	}
	return s, errors.Join(faults...)
}

func (f *files) addPair(s *set, p Pair) error {
	var faults []error
	if err := f.errs[p.Cert]; err != nil {
		faults = append(faults, fmt.Errorf("certificate %q: %w", p.Cert, err))
	}
	if err := f.errs[p.Key]; err != nil {
		faults = append(faults, fmt.Errorf("key %q: %w", p.Key, err))
	}
	if faults != nil {
		return errors.Join(faults...)
	}
	chain, err := certificates(f.data[p.Cert])
	if err != nil {
		return fmt.Errorf("certificate %q: %w: %w", p.Cert, errBadPair, err)
	}
	cert, err := tls.X509KeyPair(f.data[p.Cert], f.data[p.Key])
	if err != nil {
		return fmt.Errorf("certificate %q, key %q: %w: %w", p.Cert, p.Key, errBadPair, pairFault(f.data[p.Key], chain, err))
	}
	sum := sha256.Sum256(cert.Leaf.Raw)
	c := Certificate{
		Pair: p, cert: &cert, Fingerprint: hex.EncodeToString(sum[:]),
		NotBefore: chain[0].NotBefore, NotAfter: chain[0].NotAfter,
	}
	for _, x := range chain[1:] {
		c.NotBefore = later(c.NotBefore, x.NotBefore)
		c.NotAfter = earlier(c.NotAfter, x.NotAfter)
	}
	for _, name := range cert.Leaf.DNSNames {
		if name, ok := pattern(name); ok && !slices.Contains(c.Names, name) {
			c.Names = append(c.Names, name)
			s.names[name] = append(s.names[name], &cert)
		}
	}
	s.certs = append(s.certs, c)
	return nil
}

// pairFault replaces an error of [tls.X509KeyPair] by one that says what to change, if the cause is
// known.
func pairFault(key []byte, chain []*x509.Certificate, err error) error {
	if fault := textFault(key); fault != nil {
		return fmt.Errorf("key: %w", fault)
	}
	for rest := key; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return errors.New("the key is encrypted, which is not supported; decrypt it with: openssl pkey -in FILE -out NEWFILE")
		}
	}
	for i, c := range chain[1:] {
		one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		if _, err := tls.X509KeyPair(one, key); err == nil {
			return fmt.Errorf("the key belongs to certificate %d of the file; it must be the first, followed by the CA that signed it", i+2)
		}
	}
	return err
}

// textFault reports a file in another encoding than ASCII or UTF-8 without a byte order mark, as
// editors on Windows write it, or a certificate in binary form.
func textFault(b []byte) error {
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return errors.New("the file begins with a byte order mark; save it as ASCII, or as UTF-8 without one")
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		return errors.New("the file is UTF-16; save it as ASCII")
	case len(b) > 1 && b[0] == 0x30 && b[1] >= 0x80:
		return errors.New("the file is DER, not PEM; convert it with: openssl x509 -in FILE -out NEWFILE, or openssl pkey for a key")
	case len(b) == 0:
		return errors.New("the file is empty")
	}
	return nil
}

func (f *files) addClientCAs(s *set, paths []string) error {
	var faults []error
	var sums []string
	for _, path := range paths {
		if s.clientCAs == nil {
			s.clientCAs = x509.NewCertPool()
		}
		if err := f.errs[path]; err != nil {
			faults = append(faults, fmt.Errorf("client CAs %q: %w", path, err))
			continue
		}
		list, err := certificates(f.data[path])
		if err != nil {
			faults = append(faults, fmt.Errorf("client CAs %q: %w: %w", path, errBadClientCA, err))
		}
		for _, c := range list {
			s.clientCAs.AddCert(c)
			sum := sha256.Sum256(c.Raw)
			sums = append(sums, string(sum[:]))
		}
	}
	slices.Sort(sums)
	h := sha256.New()
	for _, sum := range slices.Compact(sums) {
		io.WriteString(h, sum)
	}
	h.Sum(s.casSum[:0])
	return errors.Join(faults...)
}

var pemBegin = []byte("-----BEGIN")

// certificates parses all certificates of a PEM file; other blocks are ignored. There must be at
// least one, and none may be incomplete: package tls ignores incomplete blocks, and so would lose
// the end of the chain in a file that is being written.
func certificates(b []byte) (list []*x509.Certificate, err error) {
	if err := textFault(b); err != nil {
		return nil, err
	}
	unread := bytes.Count(b, pemBegin)
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		unread--
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
	switch {
	case unread > 0:
		return nil, fmt.Errorf("after %d complete certificates a block is damaged or incomplete", len(list))
	case len(list) == 0:
		return nil, errors.New("no PEM block of type CERTIFICATE")
	}
	return list, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
