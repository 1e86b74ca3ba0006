package ranch

import "fmt"

// Op is a comparison of the number of active connections, for WaitForConnections.
type Op int

const (
	Less Op = iota + 1
	LessEqual
	Equal
	GreaterEqual
	Greater
)

var opNames = [...]string{Less: "<", LessEqual: "<=", Equal: "==", GreaterEqual: ">=", Greater: ">"}

// String returns the sign of the operator, such as "<=".
func (op Op) String() string {
	if op < Less || op > Greater {
		return fmt.Sprintf("Op(%d)", int(op))
	}
	return opNames[op]
}

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
	return nil, fmt.Errorf("%w: %v: allowed are Less, LessEqual, Equal, GreaterEqual and Greater", ErrBadOption, op)
}
