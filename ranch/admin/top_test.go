package admin_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/ranch/admin"
)

func TestTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, admin.Options{})
		js := s.jsonClient()
		idle, slow, fast := s.dial("echo"), s.dial("echo"), s.dial("echo")
		defer idle.Close()
		roundTrip(t, slow, strings.Repeat("x", 999)) // before the first sample
		synctest.Wait()
		js.send("top --interval 2s --limit 2 listener=echo")
		synctest.Wait()
		roundTrip(t, slow, strings.Repeat("x", 100))
		roundTrip(t, fast, strings.Repeat("x", 1000))
		frame := func() (perSecond []float64) {
			t.Helper()
			a := js.answer()
			if !a.Frame || a.Total != 4 || len(a.Columns) == 0 {
				t.Errorf("got %+v, want a frame with a total of 4", a)
			}
			for _, r := range a.rows(t) {
				perSecond = append(perSecond, r["per_second"].(float64))
			}
			return perSecond
		}
		if diff := cmp.Diff([]float64{1100, 1000, 100}, frame()); diff != "" {
			t.Errorf("first frame: (-want +got):\n%s", diff)
		}
		roundTrip(t, slow, strings.Repeat("x", 50))
		if diff := cmp.Diff([]float64{50, 50, 0}, frame()); diff != "" {
			t.Errorf("second frame: (-want +got):\n%s", diff)
		}
		js.cancel()
		if a := js.answer(); a.Error == nil || a.Error.Code != "cancelled" || a.Frame {
			t.Errorf("end of top: got %+v, want the error cancelled", a)
		}
		js.send("top --count 1")
		time.Sleep(time.Second)
		if a := js.answer(); !a.Frame {
			t.Errorf("top --count 1: got %+v, want a frame", a)
		}
		if a := js.answer(); a.Frame || string(a.Result) != "null" {
			t.Errorf("end of top --count 1: got %+v, want the result null", a)
		}
	})
}
