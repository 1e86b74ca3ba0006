package protocol

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// optionalCallbacks are the methods of Callbacks.
var optionalCallbacks = map[string]reflect.Type{
	"HandleConnect":  reflect.TypeFor[connecter](),
	"HandleMessage":  reflect.TypeFor[messenger](),
	"HandleTick":     reflect.TypeFor[ticker](),
	"HandleTimeout":  reflect.TypeFor[timeouter](),
	"HandleShutdown": reflect.TypeFor[shutdowner](),
	"HandleEnd":      reflect.TypeFor[ender](),
	"HandleLeave":    reflect.TypeFor[leaver](),
	"HandleClose":    reflect.TypeFor[closer](),
}

var checkedHandlers sync.Map // reflect.Type of a handler without faults → struct{}

// checkCallbacks panics if h has a method that is meant as an optional callback but is not one. It
// inspects each type once.
func checkCallbacks(h Handler) {
	t := reflect.TypeOf(h)
	if t == nil {
		panic("protocol: the handler is nil")
	}
	if _, ok := checkedHandlers.Load(t); ok {
		return
	}
	inspectCallbacks(t)
	checkedHandlers.Store(t, struct{}{})
}

//go:noinline
func inspectCallbacks(t reflect.Type) {
	// The method set of a value lacks the methods with a pointer receiver.
	methods := t
	if t.Kind() != reflect.Pointer {
		methods = reflect.PointerTo(t)
	}
	for i := range methods.NumMethod() {
		m := methods.Method(i)
		for name, want := range optionalCallbacks {
			if fault := callbackFault(t, m, name, want); fault != "" {
				panic(fmt.Sprintf("protocol: handler %v: method %s %s; want %s%s",
					t, m.Name, fault, name, strings.TrimPrefix(want.Method(0).Type.String(), "func")))
			}
		}
	}
}

// callbackFault returns why method m of t, which is meant as the callback of the interface want, is
// never called; "" if it is called, or is not meant as a callback.
func callbackFault(t reflect.Type, m reflect.Method, name string, want reflect.Type) string {
	switch {
	case t.Implements(want):
		return ""
	case m.Name == name && reflect.PointerTo(t).Implements(want):
		return "has a pointer receiver, and the handler is not a pointer"
	case m.Name == name:
		return "has the signature " + signature(m)
	case strings.EqualFold(m.Name, name):
		return "is misspelled"
	case takesPeer(m) && oneErrorApart(m.Name, name):
		return "seems to be misspelled"
	}
	return ""
}

// signature returns the parameters and results of m without its receiver.
func signature(m reflect.Method) string {
	s := strings.TrimPrefix(m.Type.String(), "func("+m.Type.In(0).String())
	return "(" + strings.TrimPrefix(s, ", ")
}

// takesPeer reports whether the first parameter of m is a Peer: HandleKick(name string) is not a
// misspelled HandleTick.
func takesPeer(m reflect.Method) bool {
	return m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[*Peer]()
}

// oneErrorApart reports whether a becomes b by inserting, deleting or replacing one byte, or by
// exchanging two neighbouring bytes.
func oneErrorApart(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(b) == len(a)+1 {
		return a[i:] == b[i+1:]
	}
	if len(b) != len(a) || i == len(a) {
		return false
	}
	return a[i+1:] == b[i+1:] ||
		i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
