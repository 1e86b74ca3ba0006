package packet_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"goranch/protocol/packet"
)

const (
	invalid  = `{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}`
	unparsed = `{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}`
)

func result(value, id string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","result":%s,"id":%s}`, value, id)
}

func failure(code int, message, id string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","error":{"code":%d,"message":%s},"id":%s}`, code, message, id)
}

func failureWithData(code int, message, data, id string) string {
	return failure(code, fmt.Sprintf(`%q,"data":%q`, message, data), id)
}

func invalidParams(data string) string {
	return failureWithData(packet.CodeInvalidParams, "Invalid params", data, "1")
}

func request(method, params, id string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":%s,"id":%s}`, method, params, id)
}

// exchange is a frame and its response; "" is no response.
type exchange struct{ name, request, response string }

// testExchanges runs all exchanges on one connection. A request with a known response follows each
// of them, which proves that a frame without response got none.
func testExchanges(t *testing.T, opts packet.Options, all []exchange) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, opts)
		registerMethods(t, s.Server)
		nc := s.dial(t)
		const next = `{"jsonrpc":"2.0","method":"echo","params":["next"],"id":"next"}`
		wantNext := result(`["next"]`, `"next"`)
		for _, e := range all {
			send(t, nc, e.request)
			send(t, nc, next)
			got := receive(t, nc)
			if e.response != "" {
				if got != e.response {
					t.Errorf("%s:\n got %s\nwant %s", e.name, got, e.response)
				}
				got = receive(t, nc)
			}
			if got != wantNext {
				t.Errorf("%s: response to the next request: got %s, want %s", e.name, got, wantNext)
			}
		}
	})
}

// All examples of the specification, https://www.jsonrpc.org/specification#examples.
func TestSpecification(t *testing.T) {
	notFound := `"Method not found"`
	testExchanges(t, packet.Options{}, []exchange{
		{"positional 1", `{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}`, result("19", "1")},
		{"positional 2", `{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}`, result("-19", "2")},
		{"named 1", `{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}`, result("19", "3")},
		{"named 2", `{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}`, result("19", "4")},
		{"notification", `{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}`, ""},
		{"notification of an unknown method", `{"jsonrpc": "2.0", "method": "foobar"}`, ""},
		{"non-existent method", `{"jsonrpc": "2.0", "method": "foobar", "id": "1"}`, failure(-32601, notFound, `"1"`)},
		{"invalid JSON", `{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]`, unparsed},
		{"invalid request", `{"jsonrpc": "2.0", "method": 1, "params": "bar"}`, invalid},
		{"batch, invalid JSON", `[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]`, unparsed},
		{"empty batch", `[]`, invalid},
		{"invalid batch of one", `[1]`, "[" + invalid + "]"},
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

// Requests beyond the examples of the specification.
func TestRequests(t *testing.T) {
	badID := failureWithData(-32600, "Invalid Request", "an id is a string, a number or null", "null")
	long := strings.Repeat("i", 200_000)
	testExchanges(t, packet.Options{}, []exchange{
		{"id as written", request("echo", "1", "1.50e+02"), result("1", "1.50e+02")},
		{"large id", request("echo", "1", "123456789012345678901234567890"), result("1", "123456789012345678901234567890")},
		{"escaped id", request("echo", "1", `"\u00e4\n"`), result("1", `"\u00e4\n"`)},
		{"null is an id", request("echo", "1", "null"), result("1", "null")},
		{"id an object", request("echo", "1", "{}"), badID},
		{"id an array", request("echo", "1", "[1]"), badID},
		{"id true", request("echo", "1", "true"), badID},
		{"invalid request with an id", `{"jsonrpc":"2.0","method":1,"id":7}`, failure(-32600, `"Invalid Request"`, "7")},
		{"no version", `{"method":"echo","id":1}`, failure(-32600, `"Invalid Request"`, "1")},
		{"version 1", `{"jsonrpc":"1.0","method":"echo","id":1}`, failure(-32600, `"Invalid Request"`, "1")},
		{"case of members", `{"jsonrpc":"2.0","METHOD":"echo","id":1}`, failure(-32600, `"Invalid Request"`, "1")},
		{"null", `null`, invalid}, {"a number", ` 1 `, invalid}, {"a string", `"[]"`, invalid},
		{"empty", ``, unparsed}, {"blanks", "  ", unparsed}, {"two values", `{} {}`, unparsed},
		{"other members are ignored", `{"jsonrpc":"2.0","method":"echo","params":1,"id":1,"x":2}`, result("1", "1")},
		{"params as written", request("echo", `{"a":1.0,"b":"<&>"}`, "1"), result(`{"a":1.0,"b":"<&>"}`, "1")},
		{"absent params", `{"jsonrpc":"2.0","method":"echo","id":1}`, result("null", "1")},
		{"no params: absent", `{"jsonrpc":"2.0","method":"get_data","id":1}`, result(`["hello",5]`, "1")},
		{"no params: null", request("get_data", "null", "1"), result(`["hello",5]`, "1")},
		{"no params: empty object", request("get_data", "{}", "1"), result(`["hello",5]`, "1")},
		{"no params: empty array", request("get_data", "[]", "1"), result(`["hello",5]`, "1")},
		{"no params: one", request("get_data", "[1]", "1"), invalidParams("1 positional params: allowed are 0")},
		{"missing params", `{"jsonrpc":"2.0","method":"subtract","id":1}`, invalidParams("params are missing")},
		{"too many by position", request("subtract", "[1,2,3]", "1"), invalidParams("3 positional params: allowed are 2")},
		{"fewer by position", request("subtract", "[5]", "1"), result("5", "1")},
		{"unknown field", request("subtract", `{"minuend":1,"x":2}`, "1"), invalidParams(`unknown field "x"`)},
		{"wrong type", request("subtract", `{"minuend":"1"}`, "1"), invalidParams("minuend: string is not allowed here")},
		{"wrong type by position", request("subtract", `["1"]`, "1"), invalidParams("params: string is not allowed here")},
		{"string instead of a struct", request("subtract", `"1"`, "1"), invalidParams("params: string is not allowed here")},
		{"Validate", request("word", `{"word":""}`, "1"), invalidParams("word: must not be empty")},
		{"Validate by position", request("word", `["w"]`, "1"), result(`"w"`, "1")},
		{"Error of the method", request("refuse", "[]", "1"), failure(7, `"no","data":[1]`, "1")},
		{"Error with the standard message", request("invalid", "[]", "1"), invalidParams("why")},
		{"other error of the method", request("fail", "[]", "1"), failure(-32603, `"Internal error"`, "1")},
		{"result that cannot be encoded", request("unencodable", "[]", "1"), failure(-32603, `"Internal error"`, "1")},
		{"result too long", request("long", "200000", "1"), failureWithData(-32603, "Internal error", "the response does not fit in a frame", "1")},
		{"error of a notification", `{"jsonrpc":"2.0","method":"fail"}`, ""},
		{"batch too long", "[" + strings.Repeat("1,", 100) + "1]", failureWithData(-32600, "Invalid Request", "batch of 101 requests: allowed are 100", "null")},
		{"batch with too long a response", "[" + request("long", "30000", "1") + "," + request("long", "30000", "2") + "]",
			"[" + result(`"`+strings.Repeat(`\u0000`, 30_000)+`"`, "1") + "," + failureWithData(-32603, "Internal error", "the response does not fit in a frame", "2") + "]"},
		{"long id", request("echo", "1", `"`+long+`"`), result("1", `"`+long+`"`)},
		{"deep", strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), unparsed},
	})
}

func TestRequestsWithOptions(t *testing.T) {
	testExchanges(t, packet.Options{AllowUnknownFields: true, ExposeErrors: true, MaxBatch: 1}, []exchange{
		{"unknown field", request("subtract", `{"minuend":1,"x":2}`, "1"), result("1", "1")},
		{"error", request("fail", "[]", "1"), failureWithData(-32603, "Internal error", "a secret", "1")},
		{"batch too long", "[1,1]", failureWithData(-32600, "Invalid Request", "batch of 2 requests: allowed are 1", "null")},
	})
}

// Frames may arrive in pieces or several at once. Responses have the order of their requests.
func TestFramesInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, packet.Options{})
		registerMethods(t, s.Server)
		nc := s.dial(t)
		all := append(frame(`{"jsonrpc":"2.0","method":"sum","params":[1,2],"id":1}`), frame(`{"jsonrpc":"2.0","method":"sum","params":[3,4],"id":2}`)...)
		for _, size := range []int{1, 3, len(all)} {
			go func() {
				for b := all; len(b) > 0; b = b[min(size, len(b)):] {
					nc.Write(b[:min(size, len(b))])
				}
			}()
			first, second := receive(t, nc), receive(t, nc)
			if wantFirst, wantSecond := result("3", "1"), result("7", "2"); first != wantFirst || second != wantSecond {
				t.Errorf("pieces of %d bytes:\n got %s, %s\nwant %s, %s", size, first, second, wantFirst, wantSecond)
			}
		}
	})
}

// Invalid UTF-8 is refused at entry, wherever it stands: encoding/json would pass it on to clients
// that cannot take it.
func TestInvalidUTF8IsRefusedAtEntry(t *testing.T) {
	refused := strings.Replace(failureWithData(-32700, "Parse error", "the frame is not UTF-8", "null"), "  ", " ", 1)
	testExchanges(t, packet.Options{}, []exchange{
		{"params", request("echo", "[\"caf\xe9\"]", "1"), refused},
		{"id", request("echo", "[1]", "\"\xff\""), refused},
		{"batch", "[" + request("echo", "[\"\xc3\"]", "1") + "]", refused},
		{"UTF-8", request("echo", `["café"]`, `"é"`), result(`["café"]`, `"é"`)},
	})
}
