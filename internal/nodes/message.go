package nodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"goranch/internal/termtext"
	"goranch/protocol/shell"
)

// request is a command that another node is asked to run.
type request struct {
	ID       string            `json:"id"`
	Node     string            `json:"node"`               // that asks
	Instance string            `json:"instance,omitempty"` // of the node that is asked, so that one of two with the same name runs it
	Command  string            `json:"command"`
	Args     []string          `json:"args,omitempty"`
	Flags    map[string]string `json:"flags,omitempty"`
	User     string            `json:"user"`
	Role     string            `json:"role"`
	Remote   string            `json:"remote"` // address of the user
}

// part is a part of the answer to a request. A part without these members is a keep-alive, also if
// a newer node has set members that are unknown here.
type part struct {
	Out    string          `json:"out,omitempty"`
	Frame  json.RawMessage `json:"frame,omitempty"`  // as shell.MarshalResult
	Result json.RawMessage `json:"result,omitempty"` // the last part
	Error  *shell.Error    `json:"error,omitempty"`  // the last part
}

// parseRequest decodes and checks a request. The command checks its arguments.
func parseRequest(b []byte) (r request, err error) {
	if len(b) > maxRequest {
		return r, fmt.Errorf("a request of %d bytes: at most %d are allowed", len(b), maxRequest)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, err
	}
	switch {
	case !ValidName(r.Node):
		return r, fmt.Errorf("a request of the node %.80q", r.Node)
	case len(r.ID) > maxText || len(r.Command) > maxText || len(r.User) > maxText || len(r.Remote) > maxText:
		return r, errors.New("a request with values that are too long")
	}
	return r, nil
}

// user returns the user of the request, in the audit log too.
func (r *request) user() (shell.User, error) {
	for _, role := range []shell.Role{shell.Viewer, shell.Operator} {
		if role.String() == r.Role {
			return shell.User{Name: termtext.Line(r.User) + " via node " + termtext.Line(r.Node), Role: role}, nil
		}
	}
	return shell.User{}, shell.Usage("role %.80q: allowed are viewer and operator", r.Role)
}

// remote returns the address of the user.
func (r *request) remote() net.Addr {
	if a, err := netip.ParseAddrPort(r.Remote); err == nil {
		return net.TCPAddrFromAddrPort(a)
	}
	return remoteAddr(termtext.Line(r.Remote))
}

// remoteAddr is an address that is not one of TCP.
type remoteAddr string

func (a remoteAddr) Network() string { return "node" }
func (a remoteAddr) String() string  { return string(a) }
