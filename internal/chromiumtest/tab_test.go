//go:build unix

package chromiumtest_test

import (
	"testing"

	"go.uber.org/goleak"

	"goranch/internal/chromiumtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTab(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in a browser: -short")
	}
	tb := chromiumtest.Open(t, "data:text/html,<input autofocus>")
	tb.WaitFor(`document.activeElement?.tagName`, "INPUT")
	tb.Key("a")
	tb.Type("bc")
	tb.WaitFor(`document.activeElement.value`, "abc")
	if got, want := tb.Eval("innerWidth"), "1100"; got != want {
		t.Errorf("width: got %s, want %s", got, want)
	}
}
