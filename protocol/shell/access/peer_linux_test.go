package access

import (
	"errors"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"goranch/protocol/shell"
	"goranch/transport"
	"goranch/transport/proxy"
)

func TestPeer(t *testing.T) {
	peer, err := Peer(Rules{})
	if err != nil {
		t.Fatal(err)
	}
	uid := strconv.Itoa(os.Geteuid())
	want := shell.User{Name: "uid " + uid, Role: shell.Operator}
	if me, err := user.LookupId(uid); err == nil {
		want.Name += " (" + me.Username + ")"
	}
	for _, addr := range []string{socketPath(t), "unix:@goranch-access-" + uid + filepath.Base(t.TempDir())} {
		got, err := peer(t.Context(), connect(t, transport.TCP{}, addr))
		if got != want || err != nil {
			t.Errorf("%s: got %+v and error %v, want %+v", addr, got, err, want)
		}
	}
	closed := connect(t, transport.TCP{}, socketPath(t))
	closed.Abort()
	if user, err := peer(t.Context(), closed); !errors.Is(err, net.ErrClosed) || user != (shell.User{}) {
		t.Errorf("closed connection: got %+v and error %v, want %v", user, err, net.ErrClosed)
	}
}

// Clients of other users connect from threads of this process with another user id.
func TestPeerOfOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("changing the user id requires root")
	}
	peer, err := Peer(Rules{Viewers: []string{"54321", "group:54400"}, Operators: []string{"54322"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		uid, gid int
		want     result
	}{
		{54321, 54321, result{User: shell.User{Name: "uid 54321", Role: shell.Viewer}}},
		{54322, 54321, result{User: shell.User{Name: "uid 54322", Role: shell.Operator}}},
		{54323, 54400, result{User: shell.User{Name: "uid 54323", Role: shell.Viewer}}},
		{54323, 54323, result{Err: "access denied: uid 54323 has no role"}},
		{54323, 0, result{Err: "access denied: uid 54323 has no role"}},
	} {
		addr := "unix:@goranch-access-" + filepath.Base(t.TempDir())
		conn := accept(t, transport.TCP{}, addr, func(addr string) (net.Conn, error) { return dialAs(c.uid, c.gid, addr) })
		if got := resultOf(peer(t.Context(), conn)); got != c.want {
			t.Errorf("uid %d, gid %d: got %+v, want %+v", c.uid, c.gid, got, c.want)
		}
	}
}

// dialAs connects from a thread with another user and group id; the thread ends with its goroutine.
func dialAs(uid, gid int, addr string) (nc net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
			err = errno
			return
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			err = errno
			return
		}
		nc, err = net.Dial("unix", strings.TrimPrefix(addr, "unix:"))
	}()
	<-done
	return nc, err
}

// The credentials of a local proxy are not those of its clients.
func TestPeerBehindAProxy(t *testing.T) {
	peer, err := Peer(Rules{})
	if err != nil {
		t.Fatal(err)
	}
	tr := proxy.Transport{Inner: transport.TCP{}, Local: proxy.Require}
	for _, header := range []string{
		"PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n",
		"PROXY UNKNOWN\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", // version 2, local
	} {
		conn := accept(t, tr, socketPath(t), func(addr string) (net.Conn, error) {
			nc, err := net.Dial("unix", strings.TrimPrefix(addr, "unix:"))
			if err == nil {
				_, err = nc.Write([]byte(header))
			}
			return nc, err
		})
		if user, err := peer(t.Context(), conn); !errors.Is(err, ErrNotApplicable) || user != (shell.User{}) {
			t.Errorf("%q: got %+v and error %v, want %v", header, user, err, ErrNotApplicable)
		}
	}
}
