package shell_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"goranch/protocol/shell"
)

var remote = &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 5555}

// setCommand is a command with flags that changes something.
func setCommand() shell.Command {
	return shell.Command{
		Name: "set", Usage: "[--kind KIND] [--force] <name> <value>", Role: shell.Operator, Changes: true, MinArgs: 2, MaxArgs: 2,
		Flags: []shell.Flag{{Name: "kind", Value: "KIND", Choices: []string{"a", "b c"}}, {Name: "force"}},
		Run: func(ctx context.Context, c *shell.Call) error {
			switch c.Args[0] {
			case "fail":
				return errors.New("failed")
			case "panic":
				panic("for the test")
			case "cancelled":
				return ctx.Err()
			}
			fmt.Fprintf(c.Out, "setting %s", c.Args[0])
			if err := c.Frame(c.Args); err != nil {
				return err
			}
			c.Return(shell.Fields{{Key: "conn", Title: "Connection", Value: c.Conn().ID()}, {Key: "force", Value: c.Flags["force"]}})
			return nil
		},
	}
}

func TestInvoke(t *testing.T) {
	ended, end := context.WithCancelCause(context.Background())
	end(errors.New("the client is gone"))
	operator := shell.User{Name: "alice", Role: shell.Operator}
	for _, tt := range []struct {
		name      string
		user      shell.User
		flags     map[string]string
		args      []string
		want      string
		wantCode  string
		wantAudit string
	}{
		{"success", operator, map[string]string{"force": "true", "kind": "b c"}, []string{"x", "1 2"}, `{"result":{"conn":0,"force":"true"},"fields":[{"key":"conn","title":"Connection"},{"key":"force"}]}`, "",
			"set '--kind=b c' --force x '1 2': <nil>"},
		{"role", shell.User{Name: "bob", Role: shell.Viewer}, nil, []string{"x", "1"}, "set requires the role operator; your role is viewer", shell.CodeDenied,
			"set x 1: set requires the role operator; your role is viewer"},
		{"count", operator, nil, []string{"x"}, "set takes 2 arguments, not 1: set [--kind KIND] [--force] <name> <value>", shell.CodeUsage,
			"set x: set takes 2 arguments, not 1: set [--kind KIND] [--force] <name> <value>"},
		{"unknown flag", operator, map[string]string{"no": "1"}, []string{"x", "1"}, "set has no flag --no", shell.CodeUsage, "set x 1: set has no flag --no"},
		{"choice", operator, map[string]string{"kind": "c"}, []string{"x", "1"}, `flag --kind "c": allowed are a, b c`, shell.CodeUsage, `set --kind=c x 1: flag --kind "c": allowed are a, b c`},
		{"value of a switch", operator, map[string]string{"force": "1"}, []string{"x", "1"}, "flag --force takes no value", shell.CodeUsage, "set --force x 1: flag --force takes no value"},
		{"failure", operator, nil, []string{"fail", "1"}, "failed", "", "set fail 1: failed"},
		{"cancelled", operator, nil, []string{"cancelled", "1"}, "the client is gone", "", "set cancelled 1: context canceled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, audit := setCommand(), ""
			result, err := c.Invoke(ended, shell.Invocation{
				Args: tt.args, Flags: tt.flags, User: tt.user, Remote: remote,
				Audit: func(e shell.AuditEntry) { audit = fmt.Sprintf("%s: %v", e.Line, e.Err) },
			})
			got, code := "", ""
			var fault *shell.Error
			if errors.As(err, &fault) {
				got, code = fault.Error(), fault.Code
			} else if b, err := shell.MarshalResult(result); err != nil {
				t.Fatal(err)
			} else {
				got = string(b)
			}
			if got != tt.want || code != tt.wantCode {
				t.Errorf("Invoke: got %s (code %q), want %s (code %q)", got, code, tt.want, tt.wantCode)
			}
			if audit != tt.wantAudit {
				t.Errorf("audit: got %s, want %s", audit, tt.wantAudit)
			}
		})
	}
}

// A panic is audited and not recovered.
func TestInvokePanic(t *testing.T) {
	var audit []shell.AuditEntry
	defer func() {
		if v := recover(); v != "for the test" {
			t.Errorf("recover: got %v, want the panic of the command", v)
		}
		want := []shell.AuditEntry{{User: shell.User{Name: "alice", Role: shell.Operator}, Remote: "10.1.2.3:5555", Command: "set", Line: "set panic 1"}}
		if diff := cmp.Diff(want, audit, cmpopts.IgnoreFields(shell.AuditEntry{}, "Time", "Duration", "Err")); diff != "" {
			t.Errorf("audit (-want +got):\n%s", diff)
		}
		if len(audit) == 1 && audit[0].Err == nil {
			t.Error("audit of a panic: got no error, want one")
		}
	}()
	c := setCommand()
	c.Invoke(t.Context(), shell.Invocation{
		Args: []string{"panic", "1"}, User: shell.User{Name: "alice", Role: shell.Operator}, Remote: remote,
		Audit: func(e shell.AuditEntry) { audit = append(audit, e) },
	})
}

// Commands with Raw take a value.
func TestInvokeRaw(t *testing.T) {
	c := shell.Method("double", "Double a number.", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	viewer := shell.User{Name: "bob", Role: shell.Viewer}
	if got, err := c.Invoke(t.Context(), shell.Invocation{Value: "21", User: viewer, Remote: remote}); got != 42 || err != nil {
		t.Errorf("Invoke: got %v, %v, want 42", got, err)
	}
	want := "double takes a value, and neither arguments nor flags"
	if _, err := c.Invoke(t.Context(), shell.Invocation{Args: []string{"21"}, User: viewer, Remote: remote}); err == nil || err.Error() != want {
		t.Errorf("Invoke with arguments: got %v, want %s", err, want)
	}
}

func ExampleCommand_Invoke() {
	c := shell.Command{Name: "add", Role: shell.Viewer, MinArgs: 2, MaxArgs: 2, Run: func(_ context.Context, c *shell.Call) error {
		c.Return(c.Args[0] + c.Args[1])
		return nil
	}}
	result, err := c.Invoke(context.Background(), shell.Invocation{
		Args: []string{"2", "3"}, User: shell.User{Name: "alice", Role: shell.Viewer}, Remote: remote,
	})
	fmt.Println(result, err)
	// Output: 23 <nil>
}
