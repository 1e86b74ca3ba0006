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
	maxLine   = 107 // version 1, its end included
	fixedSize = 16  // version 2: signature, version and command, family, length
	sizeIPv4  = 2*4 + 2*2
	sizeIPv6  = 2*16 + 2*2
	sizeUnix  = 2 * unixName
	unixName  = 108
)

var signatures = [...]string{1: "PROXY ", 2: string(proxyproto.SIGV2)}

// peeker is of [transport.Accepted] what looking for a header takes.
type peeker interface {
	Peek(n int) ([]byte, error)
}

// receive reads the peer's header, or finds that there is none, as policy p allows.
func (t Transport) receive(a transport.Accepted, p Policy) error {
	version, err := sniff(a)
	switch {
	case err != nil && !errors.Is(err, io.EOF): // nobody says anything more: there is none
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
	b, err := frame(a, version, t.maxHeaderBytes())
	if err != nil {
		return err
	}
	h, err := parse(b)
	if err != nil {
		return err
	}
	a.Discard(len(b))
	if p != Ignore {
		a.SetProxy(h)
	}
	return nil
}

// sniff returns the version of the header that the stream begins with, 0 if there is
// none. It waits for one byte more only while there can be one.
func sniff(p peeker) (version int, err error) {
	for n := 1; ; n++ {
		b, err := p.Peek(n)
		open := false
		for v := 1; v < len(signatures); v++ {
			m := min(len(b), len(signatures[v]))
			if string(b[:m]) != signatures[v][:m] {
				continue
			}
			if m == len(signatures[v]) {
				return v, nil
			}
			open = true
		}
		if !open {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		n = len(b)
	}
}

// frame waits until the header is complete, and returns it.
func frame(p peeker, version, limit int) ([]byte, error) {
	if version == 1 {
		return line(p)
	}
	b, err := p.Peek(fixedSize)
	if err != nil {
		return nil, tooShort(err)
	}
	n := int(binary.BigEndian.Uint16(b[fixedSize-2:]))
	if n > limit {
		return nil, fmt.Errorf("%w: %d bytes, allowed are %d", ErrTooLarge, n, limit)
	}
	if b, err = p.Peek(fixedSize + n); err != nil {
		return nil, tooShort(err)
	}
	return b[:fixedSize+n], nil
}

func line(p peeker) ([]byte, error) {
	for n := 1; ; n++ {
		b, err := p.Peek(n)
		b = b[:min(len(b), maxLine)]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return b[:i+1], nil
		}
		if len(b) == maxLine {
			return nil, fmt.Errorf("%w: a line of more than %d bytes", ErrTooLarge, maxLine)
		}
		if err != nil {
			return nil, tooShort(err)
		}
		n = len(b)
	}
}

func tooShort(err error) error {
	if errors.Is(err, io.EOF) {
		return malformed(io.ErrUnexpectedEOF)
	}
	return err
}

func malformed(why any) error {
	if err, ok := why.(error); ok {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return fmt.Errorf("%w: %v", ErrMalformed, why)
}

// parse reads a header that is complete. It keeps nothing of b.
func parse(b []byte) (*transport.ProxyHeader, error) {
	h := &transport.ProxyHeader{Version: 1}
	if b[0] == signatures[1][0] {
		return h, parseAddrs(h, b)
	}
	h.Version = 2
	command, family := proxyproto.ProtocolVersionAndCommand(b[12]), proxyproto.AddressFamilyAndProtocol(b[13])
	switch command {
	case proxyproto.LOCAL:
		h.Local = true
	case proxyproto.PROXY:
	default:
		return nil, malformed(fmt.Sprintf("version and command %#x", b[12]))
	}
	size, ok := sizeOf(family)
	if !ok {
		return nil, malformed(fmt.Sprintf("address family and protocol %#x", b[13]))
	}
	size += fixedSize
	if len(b) < size {
		if h.Local { // the addresses of one are to be skipped, whatever they are
			return h, nil
		}
		return nil, malformed(fmt.Sprintf("%d bytes have no room for the addresses", len(b)))
	}
	if family != proxyproto.UNSPEC && !h.Local {
		head := bytes.Clone(b[:size]) // apart from the rest, of which the library takes 4096 bytes only
		binary.BigEndian.PutUint16(head[fixedSize-2:], uint16(size-fixedSize))
		if err := parseAddrs(h, head); err != nil {
			return nil, err
		}
	}
	return h, parseTLVs(h, b, size)
}

// sizeOf returns how many bytes the addresses of a family take.
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
		abstract(ph.SourceAddr, b[fixedSize:][:unixName])
		abstract(ph.DestinationAddr, b[fixedSize+unixName:])
	}
	h.Source, h.Destination = ph.SourceAddr, ph.DestinationAddr
	return nil
}

// abstract restores the name of a socket without a file, which begins with a zero byte:
// the library takes it for none.
func abstract(a net.Addr, raw []byte) {
	if name := bytes.TrimRight(raw, "\x00"); len(name) > 0 && name[0] == 0 {
		a.(*net.UnixAddr).Name = "@" + string(name[1:])
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parseTLVs reads what follows the addresses, and verifies the checksum, if there is one.
func parseTLVs(h *transport.ProxyHeader, b []byte, at int) error {
	tlvs, err := proxyproto.SplitTLVs(b[at:])
	if err != nil {
		if h.Local { // may as well be addresses
			return nil
		}
		return malformed(err)
	}
	sum := 0 // where the checksum's value is
	for _, tlv := range tlvs {
		value := at + 3
		at = value + int(binary.BigEndian.Uint16(b[at+1:])) // the library drops the value of a NOOP
		if err := checkTLV(byte(tlv.Type), tlv.Value); err != nil {
			return malformed(err)
		}
		if tlv.Type == proxyproto.PP2_TYPE_CRC32C {
			if sum != 0 { // once, or whoever sends many has us sum many times
				return malformed("two checksums")
			}
			sum = value
		}
		h.TLVs = append(h.TLVs, transport.TLV{Type: byte(tlv.Type), Value: tlv.Value})
	}
	if sum != 0 && crcOf(b, sum) != binary.BigEndian.Uint32(b[sum:]) {
		return ErrChecksum
	}
	return nil
}

// crcOf is the checksum of b with zeros in place of the four bytes at.
func crcOf(b []byte, at int) uint32 {
	crc := crc32.Update(0, castagnoli, b[:at])
	crc = crc32.Update(crc, castagnoli, make([]byte, 4))
	return crc32.Update(crc, castagnoli, b[at+4:])
}
