package protocol

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Callbacks documents the methods that handlers are asked for and that are checked.
func TestCallbacksListsEveryCallback(t *testing.T) {
	got, want := map[string]string{}, map[string]string{}
	for name, one := range optionalCallbacks {
		got[name] = one.Method(0).Name + one.Method(0).Type.String()
	}
	list := reflect.TypeFor[Callbacks]()
	for i := range list.NumMethod() {
		m := list.Method(i)
		want[m.Name] = m.Name + m.Type.String()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("callbacks (-listed +checked):\n%s", diff)
	}
}
