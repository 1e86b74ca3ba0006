package shell

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// requestCommands returns the commands of TestRequests.
func requestCommands() []Command {
	boom := Command{Name: "boom", Role: Operator, Run: func(context.Context, *Call) error { return nil }}
	table := Command{Name: "table", Role: Viewer, Flags: []Flag{{Name: "sort", Value: "KEY", Choices: []string{"a", "b"}}, {Name: "all"},
		{Name: "node", Value: "NODE", Complete: func(context.Context, *Call) []string { return []string{"x y", "z"} }}}, Run: func(_ context.Context, c *Call) error {
		c.Return(Table{Columns: []Column{{Key: "name", Title: "NAME"}, {Key: "size", Right: true}}, Rows: [][]any{{"x\x1b[31m", Bytes(1536)}, {"longer", Bytes(3)}}, Total: 9})
		return nil
	}}
	point := Method("point", "", func(_ context.Context, p struct{ X, Y int }) (Fields, error) {
		if p.X == 0 {
			return nil, errors.New("no\nx")
		}
		return Fields{{Key: "sum", Value: p.X + p.Y}, {Key: "took", Title: "Took", Value: 90 * time.Second}}, nil
	})
	nothing := Method("nothing", "", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	return []Command{boom, table, point, nothing}
}

var requestTests = []struct{ name, send, want string }{
	{"words", `echo "a  b"  $x;|` + "`ls`", `"a  b"  $x;|` + "`ls`\n"},
	{"value keeps colons", "echo:a:b:c", "a:b:c\n"},
	{"carriage returns anywhere", "ec\rho:a\rb\r", "ab\n"},
	{"unknown", "histroy", "error: unknown command \"histroy\"; did you mean history?\n"},
	{"unknown, nothing near", "xyzzyxyzzy", "error: unknown command \"xyzzyxyzzy\"\n"},
	{"role", "boom", "error: boom requires the role operator; your role is viewer\n"},
	{"arguments", "pwd x", "error: pwd takes no arguments\n"},
	{"quote", "get 'x", "error: missing closing quote\n"},
	{"invalid UTF-8", "echo \x80", "error: the request is not UTF-8\n"},
	{"NUL", "echo \x00", "error: the request contains a NUL byte\n"},
	{"telnet", "\xff\xfb\x18\xff\xfd\x01\xff\xfc\x01ec\xff\xfd\x03ho \xff\xf1ok", "\xff\xfe\x18\xff\xfc\x01\xff\xfc\x03ok\n"},
	{"subnegotiation", "\xff\xfa\x18\n\xff\xff\x03\xff\xf0echo ok", "ok\n"},
	{"interrupt clears the line", "garbage\x03echo ok", "ok\n"},
	{"interrupt process", "garbage\xff\xf4\xff\xfd\x06echo ok", "\xff\xfc\x06ok\n"},
	{"table", "table", "NAME            size\nx\\u001b[31m  1.5 KiB\nlonger           3 B\n2 of 9\n"},
	{"flags", "table --sort c", "error: flag --sort \"c\": allowed are a, b\n"},
	{"flag without value", "table --sort", "error: flag --sort needs a value: KEY\n"},
	{"no such flag", "table --none", "error: table has no flag --none\n"},
	{"struct", `point:{"x":1,"y":2}`, "sum   3\nTook  1m30s\n"},
	{"error", `point:{}`, "error: no\nerror: x\n"},
	{"bad value", `point:{"x":"1"}`, "error: point: value: cannot unmarshal string into Go struct field .X of type int\n"},
	{"no value", "nothing:1", "error: nothing: value: none is allowed\n"},
	{"nothing", "nothing", ""},
	{"empty", "\n \n\r\n", ""},
	{"json", "format:json\ntable --all\nnothing\nboom\necho \"\xc3\xa9<\"\npoint:{\"x\":1}\n\nhistroy\ncancel\nformat text", `{"id":1,"result":"json"}
{"id":2,"result":[{"name":"x\u001b[31m","size":1536},{"name":"longer","size":3}],"columns":[{"key":"name","title":"NAME"},{"key":"size","kind":"bytes","right":true}],"total":9}
{"id":3,"result":null}
{"id":4,"error":{"message":"boom requires the role operator; your role is viewer","code":"denied"}}
{"id":5,"result":"\"é<\""}
{"id":6,"result":{"sum":1,"took":90},"fields":[{"key":"sum"},{"key":"took","title":"Took","kind":"duration"}]}
{"id":7,"error":{"message":"unknown command \"histroy\"","suggestion":"history","code":"unknown"}}
`},
	{"prompt", "prompt on\npwd", "> /\n> "},
	{"history", "!!\necho a\n!!\n!7\n!x", "error: no request 0 in the history\na\na\nerror: no request 7 in the history\nerror: \"!x\": allowed are !! and ! with a number of the history\n"},
	{"variables", "set a=1\nset b 'x y'\nset\nunset a\nget a", "a  1\nb  x y\nerror: unknown variable \"a\"\n"},
	{"complete", "complete:t\ncomplete:table --s\ncomplete:table --sort \ncomplete:table --node \ncomplete:table --node z\ncomplete:format j", "table\n--sort\na\nb\n'x y'\nz\nz\njson\n"},
	{"no files", "ls", "error: this server has no file access configured\n"},
	{"no auth", "auth:x", "error: this server accepts no tokens\n"},
}

func TestRequests(t *testing.T) {
	for _, tt := range requestTests {
		t.Run(tt.name, func(t *testing.T) {
			c := newTestServer(t, Options{Commands: requestCommands()}).dial()
			c.send(tt.send)
			c.closeWrite()
			want := tt.want
			if tt.name == "json" {
				got := c.rest() // the answer of cancel is not queued
				got = strings.Replace(got, `{"id":8,"error":{"message":"no command is running"}}`+"\n", "", 1)
				got = strings.Replace(got, `{"id":8,"result":"cancelled"}`+"\n", "", 1)
				if got = strings.TrimSuffix(got, "text\n"); got != want && !strings.Contains(got, "cancelled") {
					t.Errorf("got %s\nwant %s", got, want)
				}
				return
			}
			c.expectEnd(want)
		})
	}
}
