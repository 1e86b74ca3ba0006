package packet_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"goranch/protocol/packet"
)

const (
	invalid = `{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}`
	unread  = `{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}`
)

func result(what, id string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","result":%s,"id":%s}`, what, id)
}

func failure(code int, message, id string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","error":{"code":%d,"message":%s},"id":%s}`, code, message, id)
}

// exchange is a frame and its answer; "" is none.
type exchange struct{ name, in, out string }

// conversation has all exchanges on one connection. After each, one that is known to be
// answered follows, so that what is not to be answered is seen not to be.
func conversation(t *testing.T, opts packet.Options, all []exchange) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, opts)
		methods(t, h.Server)
		nc := h.dial(t)
		for _, e := range all {
			send(t, nc, e.in)
			send(t, nc, `{"jsonrpc":"2.0","method":"echo","params":["sync"],"id":"sync"}`)
			got := receive(t, nc)
			if sync := result(`["sync"]`, `"sync"`); e.out == "" {
				if got != sync {
					t.Errorf("%s: answered by %s", e.name, got)
				}
			} else if after := receive(t, nc); got != e.out || after != sync {
				t.Errorf("%s:\n got %s\nwant %s\nthen %s", e.name, got, e.out, after)
			}
		}
	})
}

// All examples of the specification, https://www.jsonrpc.org/specification#examples.
func TestSpecification(t *testing.T) {
	notFound := `"Method not found"`
	conversation(t, packet.Options{}, []exchange{
		{"positional 1", `{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}`, result("19", "1")},
		{"positional 2", `{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}`, result("-19", "2")},
		{"named 1", `{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}`, result("19", "3")},
		{"named 2", `{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}`, result("19", "4")},
		{"notification", `{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}`, ""},
		{"notification of nothing known", `{"jsonrpc": "2.0", "method": "foobar"}`, ""},
		{"non-existent method", `{"jsonrpc": "2.0", "method": "foobar", "id": "1"}`, failure(-32601, notFound, `"1"`)},
		{"invalid JSON", `{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]`, unread},
		{"invalid request", `{"jsonrpc": "2.0", "method": 1, "params": "bar"}`, invalid},
		{"batch, invalid JSON", `[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]`, unread},
		{"empty batch", `[]`, invalid},
		{"invalid batch", `[1]`, "[" + invalid + "]"},
		{"invalid batch of three", `[1,2,3]`, "[" + invalid + "," + invalid + "," + invalid + "]"},
		{"batch", `[
			{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
			{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
			{"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
			{"foo": "boo"},
			{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
			{"jsonrpc": "2.0", "method": "get_data", "id": "9"}]`,
			"[" + strings.Join([]string{result("7", `"1"`), result("19", `"2"`), invalid, failure(-32601, notFound, `"5"`), result(`["hello",5]`, `"9"`)}, ",") + "]"},
		{"batch of notifications", `[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]`, ""},
	})
}

// What the specification leaves to us, and what it does not.
func TestRequests(t *testing.T) {
	call := func(method, params, id string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":%s,"id":%s}`, method, params, id)
	}
	because := func(code int, message, why, id string) string {
		return failure(code, fmt.Sprintf(`%q,"data":%q`, message, why), id)
	}
	params := func(why string) string { return because(-32602, "Invalid params", why, "1") }
	badID := because(-32600, "Invalid Request", "an id is a string, a number or null", "null")
	long := strings.Repeat("i", 200_000)
	conversation(t, packet.Options{}, []exchange{
		{"id as written", call("echo", "1", "1.50e+02"), result("1", "1.50e+02")},
		{"large id", call("echo", "1", "123456789012345678901234567890"), result("1", "123456789012345678901234567890")},
		{"escaped id", call("echo", "1", `"\u00e4\n"`), result("1", `"\u00e4\n"`)},
		{"null is an id", call("echo", "1", "null"), result("1", "null")},
		{"id an object", call("echo", "1", "{}"), badID},
		{"id an array", call("echo", "1", "[1]"), badID},
		{"id true", call("echo", "1", "true"), badID},
		{"what is no request, but has an id", `{"jsonrpc":"2.0","method":1,"id":7}`, failure(-32600, `"Invalid Request"`, "7")},
		{"no version", `{"method":"echo","id":1}`, failure(-32600, `"Invalid Request"`, "1")},
		{"version 1", `{"jsonrpc":"1.0","method":"echo","id":1}`, failure(-32600, `"Invalid Request"`, "1")},
		{"case of members", `{"jsonrpc":"2.0","METHOD":"echo","id":1}`, failure(-32600, `"Invalid Request"`, "1")},
		{"null", `null`, invalid}, {"a number", ` 1 `, invalid}, {"a string", `"[]"`, invalid},
		{"empty", ``, unread}, {"blanks", "  ", unread}, {"two values", `{} {}`, unread},
		{"other members are ignored", `{"jsonrpc":"2.0","method":"echo","params":1,"id":1,"x":2}`, result("1", "1")},
		{"kept as written", call("echo", `{"a":1.0,"b":"<&>"}`, "1"), result(`{"a":1.0,"b":"<&>"}`, "1")},
		{"absent", `{"jsonrpc":"2.0","method":"echo","id":1}`, result("null", "1")},
		{"none: absent", `{"jsonrpc":"2.0","method":"get_data","id":1}`, result(`["hello",5]`, "1")},
		{"none: null", call("get_data", "null", "1"), result(`["hello",5]`, "1")},
		{"none: empty", call("get_data", "{}", "1"), result(`["hello",5]`, "1")},
		{"none: empty array", call("get_data", "[]", "1"), result(`["hello",5]`, "1")},
		{"none: some", call("get_data", "[1]", "1"), params("1 by position, allowed are 0")},
		{"missing", `{"jsonrpc":"2.0","method":"subtract","id":1}`, params("they are missing")},
		{"too many", call("subtract", "[1,2,3]", "1"), params("3 by position, allowed are 2")},
		{"fewer", call("subtract", "[5]", "1"), result("5", "1")},
		{"unknown field", call("subtract", `{"minuend":1,"x":2}`, "1"), params(`unknown field "x"`)},
		{"kind", call("subtract", `{"minuend":"1"}`, "1"), params("minuend: string is not allowed here")},
		{"kind by position", call("subtract", `["1"]`, "1"), params("params: string is not allowed here")},
		{"no structure", call("subtract", `"1"`, "1"), params("params: string is not allowed here")},
		{"their own fault", call("word", `{"word":""}`, "1"), params("word: allowed are those that are not empty")},
		{"by position too", call("word", `["w"]`, "1"), result(`"w"`, "1")},
		{"error of its own", call("refuse", "[]", "1"), failure(7, `"no","data":[1]`, "1")},
		{"secret error", call("fail", "[]", "1"), failure(-32603, `"Internal error"`, "1")},
		{"result that is no JSON", call("unsayable", "[]", "1"), failure(-32603, `"Internal error"`, "1")},
		{"result too long", call("long", "200000", "1"), because(-32603, "Internal error", "the answer does not fit in a frame", "1")},
		{"errors of notifications", `{"jsonrpc":"2.0","method":"fail"}`, ""},
		{"batch too long", "[" + strings.Repeat("1,", 100) + "1]", because(-32600, "Invalid Request", "a batch of 101, allowed are 100", "null")},
		{"batch whose answers are too long together", "[" + call("long", "30000", "1") + "," + call("long", "30000", "2") + "]",
			"[" + result(`"`+strings.Repeat(`\u0000`, 30_000)+`"`, "1") + "," + because(-32603, "Internal error", "the answer does not fit in a frame", "2") + "]"},
		{"long id", call("echo", "1", `"`+long+`"`), result("1", `"`+long+`"`)},
		{"deep", strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), unread},
	})
	conversation(t, packet.Options{AllowUnknownFields: true, ExposeErrors: true, MaxBatch: 1}, []exchange{
		{"unknown field", call("subtract", `{"minuend":1,"x":2}`, "1"), result("1", "1")},
		{"error", call("fail", "[]", "1"), because(-32603, "Internal error", "a secret", "1")},
		{"batch too long", "[1,1]", because(-32600, "Invalid Request", "a batch of 2, allowed are 1", "null")},
	})
}

// A frame may come byte by byte, and several in one piece; answers keep their order.
func TestFramesByteByByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, packet.Options{})
		methods(t, h.Server)
		nc := h.dial(t)
		all := append(frame(`{"jsonrpc":"2.0","method":"sum","params":[1,2],"id":1}`), frame(`{"jsonrpc":"2.0","method":"sum","params":[3,4],"id":2}`)...)
		for _, step := range []int{1, 3, len(all)} {
			go func() {
				for b := all; len(b) > 0; b = b[min(step, len(b)):] {
					nc.Write(b[:min(step, len(b))])
				}
			}()
			if a, b := receive(t, nc), receive(t, nc); a != result("3", "1") || b != result("7", "2") {
				t.Errorf("in steps of %d: %s, %s", step, a, b)
			}
		}
	})
}
