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

// testAccounts is a user database for a process of user 500.
var testAccounts = accounts{
	self: func() int { return 500 },
	user: func(name string) (*user.User, error) {
		return find(testUsers, func(u *user.User) bool { return u.Username == name }, user.UnknownUserError(name))
	},
	byID: func(uid string) (*user.User, error) {
		return find(testUsers, func(u *user.User) bool { return u.Uid == uid }, user.UnknownUserError(uid))
	},
	group: func(name string) (*user.Group, error) {
		return find(testGroups, func(g *user.Group) bool { return g.Name == name }, user.UnknownGroupError(name))
	},
	groups: func(u *user.User) ([]string, error) {
		if u.Username == "eve" {
			return nil, errors.New("database unavailable")
		}
		return map[string][]string{"alice": {"100", "4"}, "bob": {"100", "4", "27"}}[u.Username], nil
	},
}

var testUsers = []*user.User{{Uid: "0", Username: "root"}, {Uid: "500", Username: "ranch"}, {Uid: "1000", Username: "alice"},
	{Uid: "1001", Username: "bob"}, {Uid: "1002", Username: "eve"}, {Uid: "1003", Username: "strange\n"}, {Uid: "S-1-5", Username: "windows"}}

var testGroups = []*user.Group{{Gid: "4", Name: "adm"}, {Gid: "27", Name: "sudo"}, {Gid: "100", Name: "users"}}

func find[T any](list []*T, is func(*T) bool, err error) (*T, error) {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i], nil
	}
	return nil, err
}

func TestPeerRoles(t *testing.T) {
	const noRole = "access denied: %s has no role"
	viewer := func(name string) result { return result{User: shell.User{Name: name, Role: shell.Viewer}} }
	operator := func(name string) result { return result{User: shell.User{Name: name, Role: shell.Operator}} }
	refused := func(name string) result { return result{Err: fmt.Sprintf(noRole, name)} }
	for _, c := range []struct {
		name     string
		opts     Rules
		uid, gid uint32
		want     result
	}{
		{"root", Rules{}, 0, 0, operator("uid 0 (root)")},
		{"own user", Rules{}, 500, 500, operator("uid 500 (ranch)")},
		{"own user with a viewer rule", Rules{Viewers: []string{"ranch"}}, 500, 500, operator("uid 500 (ranch)")},
		{"other user", Rules{}, 1000, 1000, refused("uid 1000 (alice)")},
		{"group of root", Rules{}, 1000, 0, refused("uid 1000 (alice)")},
		{"user by name", Rules{Viewers: []string{"alice"}}, 1000, 1000, viewer("uid 1000 (alice)")},
		{"user by id", Rules{Operators: []string{"1000"}}, 1000, 1000, operator("uid 1000 (alice)")},
		{"id without a name", Rules{Viewers: []string{"2000"}}, 2000, 2000, viewer("uid 2000")},
		{"user id equal to a group id", Rules{Viewers: []string{"4"}}, 1000, 4, refused("uid 1000 (alice)")},
		{"both roles", Rules{Viewers: []string{"alice"}, Operators: []string{"alice"}}, 1000, 1000, operator("uid 1000 (alice)")},
		{"group of the process", Rules{Viewers: []string{"group:900"}}, 2000, 900, viewer("uid 2000")},
		{"supplementary group by name", Rules{Viewers: []string{"group:adm"}}, 1000, 1000, viewer("uid 1000 (alice)")},
		{"supplementary group by id", Rules{Operators: []string{"group:27"}}, 1001, 1001, operator("uid 1001 (bob)")},
		{"not in the group", Rules{Operators: []string{"group:sudo"}}, 1000, 1000, refused("uid 1000 (alice)")},
		{"highest role of several groups", Rules{Viewers: []string{"group:adm"}, Operators: []string{"group:sudo"}}, 1001, 1001, operator("uid 1001 (bob)")},
		{"group role above user role", Rules{Viewers: []string{"bob"}, Operators: []string{"group:sudo"}}, 1001, 1001, operator("uid 1001 (bob)")},
		{"group lookup fails", Rules{Viewers: []string{"group:adm"}}, 1002, 1002, refused("uid 1002 (eve)")},
		{"name with a line feed", Rules{}, 1003, 1003, refused(`uid 1003 (strange\u000a)`)},
		{"reserved id", Rules{Viewers: []string{"group:adm"}}, 1<<32 - 1, 1<<32 - 1, refused("uid 4294967295")},
		{"others admitted", Rules{AdmitOthers: true}, 1000, 1000, result{User: shell.User{Name: "uid 1000 (alice)"}}},
	} {
		p, err := newPeerRules(c.opts, testAccounts)
		if err != nil {
			t.Fatal(err)
		}
		user, err := p.user(c.uid, c.gid)
		if diff := cmp.Diff(c.want, resultOf(user, err)); diff != "" || err != nil && !errors.Is(err, ErrDenied) {
			t.Errorf("%s: got error %v; result (-want +got):\n%s", c.name, err, diff)
		}
	}
}

func TestPeerRuleFaults(t *testing.T) {
	_, err := newPeer(Rules{
		Viewers:   []string{"alice", "mallory", "", "group:"},
		Operators: []string{"group:adm", "group:nobody", "4294967295", "4294967296", "-1", "windows"},
	}, testAccounts)
	if err == nil {
		t.Fatal("got no error, want one per invalid rule")
	}
	want := []string{
		`Viewers[1] "mallory": lookup failed: user: unknown user mallory`,
		`Viewers[2] "": allowed are the name or id of a user, and "group:" with that of a group`,
		`Viewers[3] "group:": allowed are the name or id of a user, and "group:" with that of a group`,
		`Operators[1] "group:nobody": lookup failed: group: unknown group nobody`,
		`Operators[2] "4294967295": the id is reserved`,
		`Operators[3] "4294967296": lookup failed: user: unknown user 4294967296`,
		`Operators[4] "-1": lookup failed: user: unknown user -1`,
		`Operators[5] "windows": its id is not numeric: unsupported operation`,
	}
	var got []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		got = append(got, strings.TrimPrefix(line, "option "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestPeerOnOtherTransports(t *testing.T) {
	peer, err := Peer(Rules{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range []transport.Transport{transport.TCP{}, new(transport.Mem)} {
		conn := connect(t, tr, "127.0.0.1:0")
		if user, err := peer(t.Context(), conn); !errors.Is(err, ErrNotApplicable) || user != (shell.User{}) {
			t.Errorf("%s: got %+v and error %v, want %v", tr.Name(), user, err, ErrNotApplicable)
		}
	}
}
