package idle_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/idle"
)

// deadlineConn records the read deadlines: "none", "past" or "future".
type deadlineConn struct {
	net.Conn
	set []string
}

func (c *deadlineConn) SetReadDeadline(t time.Time) error {
	switch {
	case t.IsZero():
		c.set = append(c.set, "none")
	case time.Until(t) < 0:
		c.set = append(c.set, "past")
	default:
		c.set = append(c.set, "future")
	}
	return nil
}

// The deadline is removed once.
func TestSetDeadline(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	for _, tc := range []struct {
		name string
		do   func(r *idle.Reads, nc net.Conn)
		want []string
	}{
		{"none was set", func(*idle.Reads, net.Conn) {}, []string{"none"}}, // perhaps by code before
		{"one is set", func(r *idle.Reads, nc net.Conn) { r.SetDeadline(nc, hour) }, []string{"future", "none"}},
		{"one was removed", func(r *idle.Reads, nc net.Conn) {
			r.SetDeadline(nc, hour)
			r.SetDeadline(nc, time.Time{})
		}, []string{"future", "none"}},
		{"stopped", func(r *idle.Reads, nc net.Conn) { r.Stop(nc, errors.New("stop")) }, []string{"past"}},
		{"closed", func(r *idle.Reads, nc net.Conn) { r.Close() }, []string{"none"}}, // net returns net.ErrClosed
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r idle.Reads
			nc := new(deadlineConn)
			tc.do(&r, nc)
			if err := r.SetDeadline(nc, time.Time{}); err != nil {
				t.Errorf("SetDeadline: got %v, want nil", err)
			}
			if diff := cmp.Diff(tc.want, nc.set); diff != "" {
				t.Errorf("deadlines (-want +got):\n%s", diff)
			}
		})
	}
}

// A deadline that is removed withdraws a request to park.
func TestSetDeadlineWithdrawsRequest(t *testing.T) {
	var r idle.Reads
	nc := new(deadlineConn)
	if !r.RequestPark(nc) {
		t.Skip("connections are parked on Linux only")
	}
	r.SetDeadline(nc, time.Time{})
	if diff := cmp.Diff([]string{"past", "none"}, nc.set); diff != "" {
		t.Errorf("deadlines (-want +got):\n%s", diff)
	}
}
