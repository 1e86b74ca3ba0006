package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"

	"github.com/pires/go-proxyproto"

	"goranch/transport"
)

const (
	maxLine   = 107 // of version 1, with CRLF
	fixedSize = 16  // of version 2: signature, version and command, family, length
	sizeIPv4  = 2*4 + 2*2
	sizeIPv6  = 2*16 + 2*2
	sizeUnix  = 2 * unixName
	unixName  = 108
)

var signatures = [...]string{1: "PROXY ", 2: string(proxyproto.SIGV2)}

// accepted is the connection that a transport.Conn passes to the Handshake of a transport.
type accepted interface {
	net.Conn
	peeker
	SetProxy(h *transport.ProxyHeader)
}

type peeker interface {
	Peek(n int) ([]byte, error)
}

// receive reads the header of the peer under policy p.
func (t Transport) receive(a accepted, p Policy) error {
	version, err := detect(a)
	switch {
	case err != nil && !errors.Is(err, io.EOF): // at the end of the stream there is no header
		return err
	case version == 0 && p == Require && err != nil:
		return fmt.Errorf("%w: %w", ErrNoHeader, err)
	case version == 0 && p == Require:
		return ErrNoHeader
	case version == 0:
		return nil
	case p == Refuse:
		return ErrRefused
	}
	b, err := peekHeader(a, version, t.maxHeaderBytes())
	if err != nil {
		return err
	}
	h, err := parse(b)
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(a, b); err != nil { // consumes the peeked bytes
		return err
	}
	if p != Ignore {
		a.SetProxy(h)
	}
	return nil
}

// detect returns the version of the header with which the stream begins; 0 if there is none. It
// waits for another byte only while the bytes so far can begin a header.
func detect(p peeker) (version int, err error) {
	for n := 1; ; n++ {
		b, err := p.Peek(n)
		possible := false
		for v := 1; v < len(signatures); v++ {
			m := min(len(b), len(signatures[v]))
			if string(b[:m]) != signatures[v][:m] {
				continue
			}
			if m == len(signatures[v]) {
				return v, nil
			}
			possible = true
		}
		if !possible {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		n = len(b)
	}
}

// peekHeader waits until the header is complete, and returns it.
func peekHeader(p peeker, version, limit int) ([]byte, error) {
	if version == 1 {
		return peekLine(p)
	}
	b, err := p.Peek(fixedSize)
	if err != nil {
		return nil, incomplete(err)
	}
	n := int(binary.BigEndian.Uint16(b[fixedSize-2:]))
	if n > limit {
		return nil, fmt.Errorf("%w: %d bytes, allowed are at most %d", errTooLarge, n, limit)
	}
	if b, err = p.Peek(fixedSize + n); err != nil {
		return nil, incomplete(err)
	}
	return b[:fixedSize+n], nil
}

func peekLine(p peeker) ([]byte, error) {
	for n := 1; ; n++ {
		b, err := p.Peek(n)
		b = b[:min(len(b), maxLine)]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return b[:i+1], nil
		}
		if len(b) == maxLine {
			return nil, fmt.Errorf("%w: the line has more than %d bytes", errTooLarge, maxLine)
		}
		if err != nil {
			return nil, incomplete(err)
		}
		n = len(b)
	}
}

func incomplete(err error) error {
	if errors.Is(err, io.EOF) {
		return malformed(io.ErrUnexpectedEOF)
	}
	return err
}

// parse reads a complete header. The result does not share memory with b.
func parse(b []byte) (*transport.ProxyHeader, error) {
	h := &transport.ProxyHeader{Version: 1}
	if b[0] == signatures[1][0] {
		return h, parseAddrs(h, b)
	}
	h.Version = 2
	command, family := proxyproto.ProtocolVersionAndCommand(b[12]), proxyproto.AddressFamilyAndProtocol(b[13])
	switch command {
	case proxyproto.LOCAL: // the specification: discard the block, including the family
		h.Local = true
		if family != proxyproto.UNSPEC {
			return h, nil
		}
		err := parseTLVs(h, b, fixedSize)
		if errors.Is(err, errChecksum) { // which must be verified
			return nil, err
		}
		if err != nil {
			h.TLVs = nil
		}
		return h, nil
	case proxyproto.PROXY:
	default:
		return nil, malformedf("version and command %#x", b[12])
	}
	size, ok := sizeOf(family)
	if !ok {
		return nil, malformedf("address family and protocol %#x", b[13])
	}
	size += fixedSize
	if len(b) < size {
		return nil, malformedf("%d bytes are too few for the addresses", len(b))
	}
	if family != proxyproto.UNSPEC {
		head := bytes.Clone(b[:size]) // without the TLVs, of which the library reads 4096 bytes at most
		binary.BigEndian.PutUint16(head[fixedSize-2:], uint16(size-fixedSize))
		if err := parseAddrs(h, head); err != nil {
			return nil, err
		}
	}
	return h, parseTLVs(h, b, size)
}

// sizeOf returns the size in bytes of the addresses of a family.
func sizeOf(f proxyproto.AddressFamilyAndProtocol) (int, bool) {
	switch f {
	case proxyproto.UNSPEC:
		return 0, true
	case proxyproto.TCPv4, proxyproto.UDPv4:
		return sizeIPv4, true
	case proxyproto.TCPv6, proxyproto.UDPv6:
		return sizeIPv6, true
	case proxyproto.UnixStream, proxyproto.UnixDatagram:
		return sizeUnix, true
	}
	return 0, false
}

// parseAddrs reads the addresses of a header without TLVs.
func parseAddrs(h *transport.ProxyHeader, b []byte) error {
	ph, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), fixedSize+sizeUnix))
	if err != nil {
		return malformed(err)
	}
	if h.Version == 2 && ph.TransportProtocol.IsUnix() {
		restoreAbstract(ph.SourceAddr, b[fixedSize:][:unixName])
		restoreAbstract(ph.DestinationAddr, b[fixedSize+unixName:])
	}
	h.Source, h.Destination = ph.SourceAddr, ph.DestinationAddr
	return nil
}

// restoreAbstract sets the name of an abstract socket. It begins with a zero byte, which the
// library takes for an empty name.
func restoreAbstract(a net.Addr, raw []byte) {
	if name := bytes.TrimRight(raw, "\x00"); len(name) > 0 && name[0] == 0 {
		a.(*net.UnixAddr).Name = "@" + string(name[1:])
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parseTLVs reads the TLVs after the addresses, and verifies the checksum if there is one.
func parseTLVs(h *transport.ProxyHeader, b []byte, at int) error {
	tlvs, err := proxyproto.SplitTLVs(b[at:])
	if err != nil {
		return malformed(err)
	}
	sum := 0 // the offset of the checksum's value
	for _, tlv := range tlvs {
		value := at + 3
		at = value + int(binary.BigEndian.Uint16(b[at+1:])) // not from tlv: the library drops the value of a NOOP
		if err := checkTLV(byte(tlv.Type), tlv.Value); err != nil {
			return malformed(err)
		}
		if tlv.Type == proxyproto.PP2_TYPE_CRC32C {
			if sum != 0 { // each would cost the computation of a checksum
				return malformedf("two checksums")
			}
			sum = value
		}
		h.TLVs = append(h.TLVs, transport.TLV{Type: byte(tlv.Type), Value: tlv.Value})
	}
	if sum != 0 && crcOf(b, sum) != binary.BigEndian.Uint32(b[sum:]) {
		return errChecksum
	}
	return nil
}

// crcOf returns the CRC32C of b with zeros in place of the four bytes at offset at.
func crcOf(b []byte, at int) uint32 {
	crc := crc32.Update(0, castagnoli, b[:at])
	crc = crc32.Update(crc, castagnoli, make([]byte, 4))
	return crc32.Update(crc, castagnoli, b[at+4:])
}
