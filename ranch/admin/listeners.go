package admin

import (
	"context"

	"goranch/protocol/shell"
)

func (a *admin) listenerCommands() []shell.Command {
	return []shell.Command{
		{Name: "listeners", Usage: "[<listener>]", Role: shell.Viewer, MaxArgs: 1, Complete: a.completeListener,
			Help: "List all listeners, or show the details of one.", Run: a.showListeners},
	}
}

var listenerColumns = []shell.Column{
	{Key: "listener", Title: "LISTENER"}, {Key: "status", Title: "STATUS"},
	{Key: "transport", Title: "TRANSPORT"}, {Key: "addr", Title: "ADDRESS"},
	{Key: "active", Title: "ACTIVE", Right: true}, {Key: "cap", Title: "CAP", Right: true},
	{Key: "peak", Title: "PEAK", Right: true}, {Key: "accepted", Title: "ACCEPTED", Right: true},
	{Key: "refused", Title: "REFUSED", Right: true}, {Key: "pending", Title: "PENDING", Right: true, Wide: true},
	{Key: "handshakes", Title: "HANDSHAKES", Right: true, Wide: true},
	{Key: "unestablished", Title: "LOGIN", Right: true, Wide: true},
	{Key: "accept_errors", Title: "ERRORS", Right: true, Wide: true},
}

func (a *admin) showListeners(_ context.Context, c *shell.Call) error {
	if len(c.Args) == 1 {
		return a.showListener(c)
	}
	t := shell.Table{Columns: listenerColumns}
	for _, l := range a.listeners() {
		i := l.Info()
		t.Rows = append(t.Rows, []any{
			i.Ref, string(i.Status), i.Transport, addrString(i.Addr),
			i.ActiveConnections, capValue(i.MaxConnections), i.PeakConnections, i.Accepted,
			i.Refused, i.PendingConnections, i.Handshakes, i.Unestablished, i.AcceptErrors,
		})
	}
	c.Return(t)
	return nil
}

func (a *admin) showListener(c *shell.Call) error {
	l, err := a.listener(c.Args[0])
	if err != nil {
		return err
	}
	i := l.Info()
	c.Return(shell.Fields{
		{Key: "listener", Title: "Listener", Value: i.Ref},
		{Key: "status", Title: "Status", Value: string(i.Status)},
		{Key: "transport", Title: "Transport", Value: i.Transport},
		{Key: "addr", Title: "Address", Value: addrString(i.Addr)},
		{Key: "protocol", Title: "Protocol", Value: protocolName(i.Protocol)},
		{Key: "active", Title: "Active connections", Value: i.ActiveConnections},
		{Key: "cap", Title: "Cap", Value: capValue(i.MaxConnections)},
		{Key: "peak", Title: "Peak", Value: i.PeakConnections},
		{Key: "connections", Title: "All connections", Value: i.AllConnections},
		{Key: "pending", Title: "Pending connections", Value: i.PendingConnections},
		{Key: "handshakes", Title: "Handshakes in progress", Value: i.Handshakes},
		{Key: "unestablished", Title: "In the login phase", Value: i.Unestablished},
		{Key: "acceptors", Title: "Acceptors", Value: i.NumAcceptors},
		{Key: "waiting_acceptors", Title: "Waiting acceptors", Value: i.WaitingAcceptors},
		{Key: "sockets", Title: "Listening sockets", Value: i.NumListenSockets},
		{Key: "addresses", Title: "Source addresses", Value: i.Addresses},
		{Key: "accepted", Title: "Accepted", Value: i.Accepted},
		{Key: "terminated", Title: "Ended", Value: i.Terminated},
		{Key: "served", Title: "Served", Value: i.Served},
		{Key: "handshake_failed", Title: "Handshake failed", Value: i.HandshakeFailed},
		{Key: "refused", Title: "Refused", Value: i.Refused},
		{Key: "accept_errors", Title: "Accept errors", Value: i.AcceptErrors},
	})
	return nil
}
