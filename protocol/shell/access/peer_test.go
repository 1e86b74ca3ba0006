package access

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
	"goranch/transport"
)

// town is a system with a few accounts, whose process runs as user 500.
var town = accounts{
	self: func() int { return 500 },
	user: func(name string) (*user.User, error) {
		return find(people, func(u *user.User) bool { return u.Username == name }, user.UnknownUserError(name))
	},
	byID: func(uid string) (*user.User, error) {
		return find(people, func(u *user.User) bool { return u.Uid == uid }, user.UnknownUserError(uid))
	},
	group: func(name string) (*user.Group, error) {
		return find(circles, func(g *user.Group) bool { return g.Name == name }, user.UnknownGroupError(name))
	},
	groups: func(u *user.User) ([]string, error) {
		if u.Username == "eve" {
			return nil, errors.New("the database cannot be reached")
		}
		return map[string][]string{"alice": {"100", "4"}, "bob": {"100", "4", "27"}}[u.Username], nil
	},
}

var people = []*user.User{{Uid: "0", Username: "root"}, {Uid: "500", Username: "ranch"}, {Uid: "1000", Username: "alice"},
	{Uid: "1001", Username: "bob"}, {Uid: "1002", Username: "eve"}, {Uid: "1003", Username: "strange\n"}, {Uid: "S-1-5", Username: "windows"}}

var circles = []*user.Group{{Gid: "4", Name: "adm"}, {Gid: "27", Name: "sudo"}, {Gid: "100", Name: "users"}}

func find[T any](list []*T, is func(*T) bool, err error) (*T, error) {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i], nil
	}
	return nil, err
}

func TestPeerRoles(t *testing.T) {
	const none = "access denied: %s may neither look nor change"
	viewer := func(name string) answer { return answer{User: shell.User{Name: name, Role: shell.Viewer}} }
	operator := func(name string) answer { return answer{User: shell.User{Name: name, Role: shell.Operator}} }
	refused := func(name string) answer { return answer{Err: fmt.Sprintf(none, name)} }
	for _, c := range []struct {
		name     string
		opts     PeerOptions
		uid, gid uint32
		want     answer
	}{
		{"root", PeerOptions{}, 0, 0, operator("uid 0 (root)")},
		{"the process itself", PeerOptions{}, 500, 500, operator("uid 500 (ranch)")},
		{"the process itself, as a viewer", PeerOptions{Viewers: []string{"ranch"}}, 500, 500, operator("uid 500 (ranch)")},
		{"another", PeerOptions{}, 1000, 1000, refused("uid 1000 (alice)")},
		{"root's group makes nobody root", PeerOptions{}, 1000, 0, refused("uid 1000 (alice)")},
		{"a user by name", PeerOptions{Viewers: []string{"alice"}}, 1000, 1000, viewer("uid 1000 (alice)")},
		{"a user by number", PeerOptions{Operators: []string{"1000"}}, 1000, 1000, operator("uid 1000 (alice)")},
		{"a number without a name", PeerOptions{Viewers: []string{"2000"}}, 2000, 2000, viewer("uid 2000")},
		{"the number is no group's", PeerOptions{Viewers: []string{"4"}}, 1000, 4, refused("uid 1000 (alice)")},
		{"both roles", PeerOptions{Viewers: []string{"alice"}, Operators: []string{"alice"}}, 1000, 1000, operator("uid 1000 (alice)")},
		{"the group of the process", PeerOptions{Viewers: []string{"group:900"}}, 2000, 900, viewer("uid 2000")},
		{"a further group by name", PeerOptions{Viewers: []string{"group:adm"}}, 1000, 1000, viewer("uid 1000 (alice)")},
		{"a further group by number", PeerOptions{Operators: []string{"group:27"}}, 1001, 1001, operator("uid 1001 (bob)")},
		{"not in the group", PeerOptions{Operators: []string{"group:sudo"}}, 1000, 1000, refused("uid 1000 (alice)")},
		{"the greatest of groups", PeerOptions{Viewers: []string{"group:adm"}, Operators: []string{"group:sudo"}}, 1001, 1001, operator("uid 1001 (bob)")},
		{"a group lifts a viewer", PeerOptions{Viewers: []string{"bob"}, Operators: []string{"group:sudo"}}, 1001, 1001, operator("uid 1001 (bob)")},
		{"groups that cannot be looked up", PeerOptions{Viewers: []string{"group:adm"}}, 1002, 1002, refused("uid 1002 (eve)")},
		{"a name that could forge a log", PeerOptions{}, 1003, 1003, refused(`uid 1003 ("strange\n")`)},
		{"the kernel knows no user", PeerOptions{Viewers: []string{"group:adm"}}, 1<<32 - 1, 1<<32 - 1, refused("uid 4294967295")},
		{"others are admitted", PeerOptions{AdmitOthers: true}, 1000, 1000, answer{User: shell.User{Name: "uid 1000 (alice)"}}},
	} {
		p := &peers{map[uint32]shell.Role{}, map[uint32]shell.Role{}, 500, c.opts.AdmitOthers, town}
		var f faults
		p.addAll(&f, "Viewers", c.opts.Viewers, shell.Viewer)
		p.addAll(&f, "Operators", c.opts.Operators, shell.Operator)
		if f != nil {
			t.Fatal(f)
		}
		user, err := p.user(c.uid, c.gid)
		if diff := cmp.Diff(c.want, answerOf(user, err)); diff != "" || err != nil && !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
	}
}

func TestPeerOptions(t *testing.T) {
	_, err := peerOf(PeerOptions{
		Viewers:   []string{"alice", "mallory", "", "group:"},
		Operators: []string{"group:adm", "group:nobody", "4294967295", "4294967296", "-1", "windows"},
	}, town)
	if !errors.Is(err, ErrBadOption) {
		t.Fatalf("%v", err)
	}
	want := []string{
		`Viewers[1] "mallory": cannot be looked up: user: unknown user mallory`,
		`Viewers[2] "": use a user's name or number, or "group:" and a group's`,
		`Viewers[3] "group:": use a user's name or number, or "group:" and a group's`,
		`Operators[1] "group:nobody": cannot be looked up: group: unknown group nobody`,
		`Operators[2] "4294967295": is nobody's number`,
		`Operators[3] "4294967296": cannot be looked up: user: unknown user 4294967296`,
		`Operators[4] "-1": cannot be looked up: user: unknown user -1`,
		`Operators[5] "windows": has no number: unsupported operation`,
	}
	var got []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		got = append(got, strings.TrimPrefix(line, "bad option "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPeerIsNotForOthers(t *testing.T) {
	peer, err := Peer(PeerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range []transport.Transport{transport.TCP{}, new(transport.Mem)} {
		conn := connect(t, tr, "127.0.0.1:0")
		if user, err := peer(t.Context(), conn); !errors.Is(err, ErrNotApplicable) || user != (shell.User{}) {
			t.Errorf("%s: %+v, %v", tr.Name(), user, err)
		}
	}
}
