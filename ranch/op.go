package ranch

import "fmt"

// Op compares the number of active connections with another number; see
// [Listener.WaitForConnections].
type Op string

const (
	Less         Op = "<"
	LessEqual    Op = "<="
	Equal        Op = "=="
	GreaterEqual Op = ">="
	Greater      Op = ">"
)

// compare returns the comparison of a count with n.
func (op Op) compare(n int) (func(count int) bool, error) {
	switch op {
	case Less:
		return func(c int) bool { return c < n }, nil
	case LessEqual:
		return func(c int) bool { return c <= n }, nil
	case Equal:
		return func(c int) bool { return c == n }, nil
	case GreaterEqual:
		return func(c int) bool { return c >= n }, nil
	case Greater:
		return func(c int) bool { return c > n }, nil
	}
	return nil, fmt.Errorf("%w: operator %q: allowed are Less, LessEqual, Equal, GreaterEqual and Greater", ErrBadOption, string(op))
}
