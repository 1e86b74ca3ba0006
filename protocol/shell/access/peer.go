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

	"goranch/internal/option"
	"goranch/internal/termtext"
	"goranch/protocol/shell"
	"goranch/transport"
)

// Peer returns an Authenticator for Unix sockets, on the systems of [transport.Conn.PeerCred]. The
// rules are users, "alice" or "1000", and groups, "group:adm" or "group:4", which Peer resolves
// once; its error names every unknown one. The groups of a user are that of the connecting process
// and those in the system's database at the time of the connection. root and the user of this
// process are Operators without a rule: do not run the process as "nobody", the user of all
// container users without a mapping.
//
// The Authenticator returns ErrNotApplicable for other connections, on other systems, and behind a
// PROXY protocol proxy, where the kernel reports the user of the proxy.
func Peer(r Rules) (Authenticator, error) { return newPeer(r, systemAccounts) }

// accounts is the system's user database.
type accounts struct {
	self   func() int
	user   func(name string) (*user.User, error)
	group  func(name string) (*user.Group, error)
	byID   func(uid string) (*user.User, error)
	groups func(*user.User) ([]string, error)
}

var systemAccounts = accounts{os.Geteuid, user.Lookup, user.LookupGroup, user.LookupId, (*user.User).GroupIds}

// peerRules are parsed Rules, with names resolved to ids.
type peerRules struct {
	users, groups map[uint32]shell.Role
	self          uint32
	admitOthers   bool
	accounts      accounts
}

func newPeer(r Rules, a accounts) (Authenticator, error) {
	p, err := newPeerRules(r, a)
	if err != nil {
		return nil, err
	}
	return p.authenticate, nil
}

func newPeerRules(r Rules, a accounts) (*peerRules, error) {
	p := &peerRules{map[uint32]shell.Role{}, map[uint32]shell.Role{}, uint32(a.self()), r.AdmitOthers, a}
	var f option.Faults
	p.add(&f, "Viewers", r.Viewers, shell.Viewer)
	p.add(&f, "Operators", r.Operators, shell.Operator)
	return p, f.Err()
}

func (p *peerRules) add(f *option.Faults, field string, list []string, role shell.Role) {
	for i, s := range list {
		id, isGroup, err := p.lookup(s)
		switch {
		case err != nil:
			f.Add(fmt.Errorf("option %s[%d] %q: %w", field, i, s, err))
		case isGroup:
			p.groups[id] = max(p.groups[id], role)
		default:
			p.users[id] = max(p.users[id], role)
		}
	}
}

// lookup returns the id of a user or group.
func (p *peerRules) lookup(s string) (id uint32, isGroup bool, err error) {
	name, isGroup := strings.CutPrefix(s, "group:")
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		if n == 1<<32-1 { // what the kernel reports for a peer without credentials
			return 0, isGroup, errors.New("the id is reserved")
		}
		return uint32(n), isGroup, nil
	}
	if name == "" {
		return 0, isGroup, errors.New("allowed are the name or id of a user, and \"group:\" with that of a group")
	}
	var number string
	if isGroup {
		g, err := p.accounts.group(name)
		if err != nil {
			return 0, isGroup, fmt.Errorf("lookup failed: %w", err)
		}
		number = g.Gid
	} else {
		u, err := p.accounts.user(name)
		if err != nil {
			return 0, isGroup, fmt.Errorf("lookup failed: %w", err)
		}
		number = u.Uid
	}
	n, err := strconv.ParseUint(number, 10, 32) // ids are not numeric on all systems
	if err != nil {
		return 0, isGroup, fmt.Errorf("its id is not numeric: %w", errors.ErrUnsupported)
	}
	return uint32(n), isGroup, nil
}

func (p *peerRules) authenticate(_ context.Context, conn *transport.Conn) (shell.User, error) {
	if conn.Proxy() != nil { // even without addresses in the header: the proxy's checks are no client
		return shell.User{}, fmt.Errorf("%w: the client is behind a proxy", ErrNotApplicable)
	}
	cred, err := conn.PeerCred()
	if errors.Is(err, errors.ErrUnsupported) {
		return shell.User{}, fmt.Errorf("%w: no peer credentials for this connection", ErrNotApplicable)
	}
	if err != nil {
		return shell.User{}, err
	}
	return p.user(uint32(cred.UID), uint32(cred.GID))
}

// user returns the user for the credentials of a connection.
func (p *peerRules) user(uid, gid uint32) (shell.User, error) {
	number := strconv.FormatUint(uint64(uid), 10)
	result := shell.User{Name: "uid " + number, Role: p.users[uid]}
	u, _ := p.accounts.byID(number) // container users often have no name
	if u != nil {
		result.Name += " (" + termtext.Line(u.Username) + ")"
	}
	if uid == 0 || uid == p.self {
		result.Role = shell.Operator
	}
	if result.Role < shell.Operator && len(p.groups) > 0 {
		for _, id := range p.groupsOf(u, gid) {
			result.Role = max(result.Role, p.groups[id])
		}
	}
	return withRole(result, p.admitOthers)
}

func (p *peerRules) groupsOf(u *user.User, gid uint32) []uint32 {
	list := []uint32{gid}
	if u == nil {
		return list
	}
	ids, _ := p.accounts.groups(u) // an error leaves out groups, so it cannot grant a role
	for _, s := range ids {
		if id, err := strconv.ParseUint(s, 10, 32); err == nil && !slices.Contains(list, uint32(id)) {
			list = append(list, uint32(id))
		}
	}
	return list
}
