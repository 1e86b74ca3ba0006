package loadgen

import (
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dialer begins non-blocking connects to one TCP address.
type Dialer struct {
	family         int
	remote         unix.Sockaddr
	clientsPerAddr int // 0: the kernel selects the source address
}

// NewDialer returns a dialer for an address. If that is an IPv4 loopback address, each source
// address serves clientsPerAddr clients (see SourceAddr); else the kernel selects the source
// address.
func NewDialer(to netip.AddrPort, clientsPerAddr int) (*Dialer, error) {
	if ip := to.Addr().Unmap(); ip.Is4() {
		d := &Dialer{family: unix.AF_INET, remote: &unix.SockaddrInet4{Port: int(to.Port()), Addr: ip.As4()}}
		if ip.IsLoopback() {
			d.clientsPerAddr = clientsPerAddr
		}
		return d, nil
	}
	sa := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if zone := to.Addr().Zone(); zone != "" {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, err
		}
		sa.ZoneId = uint32(i.Index)
	}
	return &Dialer{family: unix.AF_INET6, remote: sa}, nil
}

// Dial begins to connect client i and returns its non-blocking socket, which the caller must close.
// A refusal can be reported by the first Read or Write.
func (d *Dialer) Dial(i int) (fd int, err error) {
	fd, err = unix.Socket(d.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if d.clientsPerAddr > 0 {
		err = bindAddr(fd, SourceAddr(i, d.clientsPerAddr))
	}
	if err == nil {
		err = d.connect(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Reconnect aborts the connection of a socket and begins a new one with the same socket. The peer
// receives a reset, as from a client that closes with linger 0, so no port stays in TIME_WAIT.
func (d *Dialer) Reconnect(fd int) error {
	unspec := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec))
	if errno != 0 {
		return os.NewSyscallError("connect to AF_UNSPEC", errno)
	}
	return d.connect(fd)
}

func (d *Dialer) connect(fd int) error {
	if err := unix.Connect(fd, d.remote); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

// bindAddr binds to an address without a port. The kernel selects the port at connect, where a port
// is free unless the pair of both addresses and ports is in use.
func bindAddr(fd int, addr [4]byte) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return os.NewSyscallError("setsockopt IP_BIND_ADDRESS_NO_PORT", err)
	}
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: addr}))
}

// SourceAddr returns the source address of client i when clientsPerAddr clients share one:
// 127.0.0.2 and the addresses that follow. They start again after 127.255.255.254.
func SourceAddr(i, clientsPerAddr int) [4]byte {
	const first, addrs = 2, 1<<24 - 3 // without 127.0.0.1, the network and the broadcast address
	n := first + i/clientsPerAddr%addrs
	return [4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)}
}
