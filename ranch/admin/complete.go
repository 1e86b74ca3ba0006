package admin

import (
	"context"
	"strconv"
	"strings"

	"goranch/conns"
	"goranch/protocol/shell"
)

// completeListener completes the first argument with the names of the listeners.
func (a *admin) completeListener(_ context.Context, _ *shell.Call, args []string) []string {
	if len(args) > 1 {
		return nil
	}
	return a.names()
}

func (a *admin) completeListenerOrAll(ctx context.Context, c *shell.Call, args []string) []string {
	if len(args) > 1 {
		return nil
	}
	return append(a.completeListener(ctx, c, args), all)
}

// maxCompletedIDs is how many connection ids a completion returns.
const maxCompletedIDs = 50

func (a *admin) completeID(_ context.Context, _ *shell.Call, args []string) []string {
	if len(args) > 1 {
		return nil
	}
	last, ids := args[len(args)-1], []string(nil)
	for _, l := range a.listeners() {
		page, _ := l.Select(conns.Query{Limit: maxCompletedIDs, Match: func(i *conns.Info) bool {
			return strings.HasPrefix(strconv.FormatUint(i.ID, 10), last)
		}})
		for _, i := range page {
			ids = append(ids, strconv.FormatUint(i.ID, 10))
		}
	}
	return ids[:min(len(ids), maxCompletedIDs)]
}

// completeFilter completes the names of fields, and the values of fields that have few.
func (a *admin) completeFilter(of scope) func(context.Context, *shell.Call, []string) []string {
	return func(_ context.Context, _ *shell.Call, args []string) []string {
		name, _, hasValue := strings.Cut(args[len(args)-1], "=")
		var words, values []string
		if !hasValue {
			for _, name := range fieldNames(of) {
				words = append(words, name+fieldOf(name, of).ops[0])
			}
			return append(words, labelPrefix)
		}
		switch name {
		case "listener":
			values = a.names()
		case "state":
			values = states
		case "reason":
			values = reasons()
		case "tls", "counted", "served":
			values = []string{"true", "false"}
		}
		for _, v := range values {
			if name != "listener" {
				v = hyphenated(v)
			}
			words = append(words, name+"="+v)
		}
		return words
	}
}

// completeCap completes a listener, then its cap.
func (a *admin) completeCap(ctx context.Context, c *shell.Call, args []string) []string {
	if len(args) == 2 {
		return []string{"unlimited"}
	}
	return a.completeListener(ctx, c, args)
}

// completeLimit completes a listener, then the names of limits, and the values of evict.
func (a *admin) completeLimit(ctx context.Context, c *shell.Call, args []string) []string {
	if len(args) == 1 {
		return a.completeListener(ctx, c, args)
	}
	var words []string
	for _, l := range limits {
		words = append(words, l.name+"=")
	}
	if strings.HasPrefix(args[len(args)-1], "evict=") {
		for _, p := range policies {
			words = append(words, "evict="+p)
		}
	}
	return words
}

// completeTrace completes a connection id or the target of a running trace, then "on" and "off".
func (a *admin) completeTrace(ctx context.Context, c *shell.Call, args []string) []string {
	if len(args) == 2 {
		return []string{"on", "off"}
	}
	words := a.completeID(ctx, c, args)
	for _, tr := range a.runningTraces() {
		words = append(words, tr.target)
	}
	return words
}
