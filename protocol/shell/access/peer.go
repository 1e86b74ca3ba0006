package access

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"goranch/protocol/shell"
	"goranch/transport"
)

// PeerOptions say what the users of this machine may do.
type PeerOptions struct {
	// Viewers and Operators are users and groups: "alice" and "1000" are users, by name and by
	// number, "group:adm" and "group:4" groups. Names are looked up by [Peer], once. Who is
	// in both is an Operator. root and the user that this process runs as are Operators anyway.
	Viewers, Operators []string
	// AdmitOthers makes Guests of all other users, who may present a token, instead of
	// refusing them.
	AdmitOthers bool
}

// Peer returns an Authenticator for Unix sockets. The kernel vouches for who has connected, so
// nothing has to be kept secret; see [transport.Conn.PeerCred] for where it does.
//
// A user's groups are the one that the process has connected with, and those that the system's
// database gives when it connects. For other connections, where the kernel does not tell, and behind a proxy that
// speaks for others (transport/proxy), the error is ErrNotApplicable: the
// proxy's own user says nothing of its clients.
//
// Do not run the process as "nobody": users of containers that have no number outside are shown
// as just that one, and would be its Operators.
//
// The error of Peer names every user and group that there is not, and wraps ErrBadOption.
func Peer(o PeerOptions) (Authenticator, error) { return peerOf(o, systemAccounts) }

// accounts is what the system knows of its users.
type accounts struct {
	self   func() int
	user   func(name string) (*user.User, error)
	group  func(name string) (*user.Group, error)
	byID   func(uid string) (*user.User, error)
	groups func(*user.User) ([]string, error)
}

var systemAccounts = accounts{os.Geteuid, user.Lookup, user.LookupGroup, user.LookupId, (*user.User).GroupIds}

// peers is the configuration, in numbers.
type peers struct {
	users, groups map[uint32]shell.Role
	self          uint32
	admitOthers   bool
	accounts      accounts
}

func peerOf(o PeerOptions, a accounts) (Authenticator, error) {
	p := &peers{map[uint32]shell.Role{}, map[uint32]shell.Role{}, uint32(a.self()), o.AdmitOthers, a}
	var f faults
	p.addAll(&f, "Viewers", o.Viewers, shell.Viewer)
	p.addAll(&f, "Operators", o.Operators, shell.Operator)
	if f != nil {
		return nil, errors.Join(f...)
	}
	return p.authenticate, nil
}

func (p *peers) addAll(f *faults, field string, list []string, role shell.Role) {
	for i, s := range list {
		id, isGroup, err := p.lookup(s)
		switch {
		case err != nil:
			f.add("%s[%d] %q: %v", field, i, s, err)
		case isGroup:
			p.groups[id] = max(p.groups[id], role)
		default:
			p.users[id] = max(p.users[id], role)
		}
	}
}

// lookup returns the number of a user or group.
func (p *peers) lookup(s string) (id uint32, isGroup bool, err error) {
	name, isGroup := strings.CutPrefix(s, "group:")
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		if n == 1<<32-1 {
			return 0, isGroup, errors.New("is nobody's number")
		}
		return uint32(n), isGroup, nil
	}
	if name == "" {
		return 0, isGroup, errors.New("use a user's name or number, or \"group:\" and a group's")
	}
	var number string
	if isGroup {
		g, err := p.accounts.group(name)
		if err != nil {
			return 0, isGroup, fmt.Errorf("cannot be looked up: %w", err)
		}
		number = g.Gid
	} else {
		u, err := p.accounts.user(name)
		if err != nil {
			return 0, isGroup, fmt.Errorf("cannot be looked up: %w", err)
		}
		number = u.Uid
	}
	n, err := strconv.ParseUint(number, 10, 32) // elsewhere than on Unix it is no number
	if err != nil {
		return 0, isGroup, fmt.Errorf("has no number: %w", errors.ErrUnsupported)
	}
	return uint32(n), isGroup, nil
}

func (p *peers) authenticate(_ context.Context, conn *transport.Conn) (shell.User, error) {
	if conn.Proxy() != nil { // even one that speaks for itself: there is nobody then to command
		return shell.User{}, fmt.Errorf("%w: it comes by way of a proxy", ErrNotApplicable)
	}
	cred, err := conn.PeerCred()
	if errors.Is(err, errors.ErrUnsupported) {
		return shell.User{}, fmt.Errorf("%w: it is no Unix socket, or the system does not tell its peer", ErrNotApplicable)
	}
	if err != nil {
		return shell.User{}, err
	}
	return p.user(uint32(cred.UID), uint32(cred.GID))
}

// user says what uid may do, which has connected with gid.
func (p *peers) user(uid, gid uint32) (shell.User, error) {
	number := strconv.FormatUint(uint64(uid), 10)
	who := shell.User{Name: "uid " + number, Role: p.users[uid]}
	u, _ := p.accounts.byID(number) // containers have users that nobody knows by name
	if u != nil {
		who.Name += " (" + printable(u.Username) + ")"
	}
	if uid == 0 || uid == p.self {
		who.Role = shell.Operator
	}
	if who.Role < shell.Operator && len(p.groups) > 0 {
		for _, id := range p.groupsOf(u, gid) {
			who.Role = max(who.Role, p.groups[id])
		}
	}
	if who.Role == shell.Guest && !p.admitOthers {
		return shell.User{}, fmt.Errorf("%w: %s may neither look nor change", ErrDenied, who.Name)
	}
	return who, nil
}

func (p *peers) groupsOf(u *user.User, gid uint32) []uint32 {
	list := []uint32{gid}
	if u == nil {
		return list
	}
	names, _ := p.accounts.groups(u) // without them fewer may enter
	for _, s := range names {
		if id, err := strconv.ParseUint(s, 10, 32); err == nil && !slices.Contains(list, uint32(id)) {
			list = append(list, uint32(id))
		}
	}
	return list
}
