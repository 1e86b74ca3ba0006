package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"goranch/conns"
	"goranch/internal/nearest"
	"goranch/protocol/shell"
	"goranch/ranch"
)

// limit is one of a listener's options, as it is shown and set.
type limit struct {
	name, means, allowed string
	get                  func(*ranch.Options) string
	set                  func(*ranch.Options, string) error
}

const (
	times   = "times such as 500ms, 5s or 2m, and none"
	numbers = "numbers from 1 on, and none"
	ratings = "numbers per second such as 100 or 0.5, with a burst such as 100:20, and unlimited"
)

// limits are the options that can be changed, in the order in which they are shown.
var limits = []limit{
	rated("accept-rate", "how fast connections are accepted", func(o *ranch.Options) *conns.Rate { return &o.AcceptRate }),
	rated("address-rate", "how fast one address may connect", func(o *ranch.Options) *conns.Rate { return &o.AddressRate }),
	counted("max-per-address", "connections that one address may have", func(o *ranch.Options) *int { return &o.PerAddress }),
	counted("max-handshakes", "handshakes in progress", func(o *ranch.Options) *int { return &o.MaxHandshakes }),
	timed("handshake-timeout", "time for the handshake", times, "none", -1, func(o *ranch.Options) *time.Duration { return &o.HandshakeTimeout }),
	timed("idle-timeout", "ends who carries nothing", times, "none", 0, func(o *ranch.Options) *time.Duration { return &o.IdleTimeout }),
	timed("read-timeout", "ends who sends nothing", times, "none", 0, func(o *ranch.Options) *time.Duration { return &o.ReadTimeout }),
	timed("write-timeout", "ends whom nothing is sent to", times, "none", 0, func(o *ranch.Options) *time.Duration { return &o.WriteTimeout }),
	timed("lifetime", "ends who is that old", times, "none", 0, func(o *ranch.Options) *time.Duration { return &o.Lifetime }),
	{"lifetime-jitter", "share by which lives are shortened at random", "shares from 0 to 1",
		func(o *ranch.Options) string { return strconv.FormatFloat(o.LifetimeJitter, 'g', -1, 64) },
		func(o *ranch.Options, s string) (err error) {
			o.LifetimeJitter, err = strconv.ParseFloat(s, 64)
			return err
		}},
	timed("rest-after", "silence after which a connection gives up its goroutine", "times such as 500ms or 1s, and never", "never", -1,
		func(o *ranch.Options) *time.Duration { return &o.ParkAfter }),
	timed("refuse-after", "how long who comes at the cap waits before being refused", "0s, times such as 500ms or 2s, and never", "never", 0,
		func(o *ranch.Options) *time.Duration { return &o.RefuseAfter }),
	timed("shutdown-timeout", "time to go on for who was told to end", "0s, times such as 500ms or 5s, and infinity", "infinity", ranch.Infinity,
		func(o *ranch.Options) *time.Duration { return &o.ShutdownTimeout }),
	{"evict", "who makes room when the cap is lowered", "none, oldest, most-idle and random",
		func(o *ranch.Options) string { return o.Evict.String() },
		func(o *ranch.Options, s string) error {
			p, err := conns.ParseEvictionPolicy(s)
			if err == nil {
				o.Evict = p
			}
			return err
		}},
}

func rated(name, means string, field func(*ranch.Options) *conns.Rate) limit {
	return limit{name, means, ratings, func(o *ranch.Options) string {
		r := *field(o)
		s := strconv.FormatFloat(r.PerSecond, 'g', -1, 64)
		switch {
		case r.PerSecond <= 0:
			return "unlimited"
		case r.Burst > 0:
			s += ":" + strconv.Itoa(r.Burst)
		}
		return s
	}, func(o *ranch.Options, s string) (err error) {
		*field(o), err = parseRate(s)
		return err
	}}
}

func parseRate(s string) (r conns.Rate, err error) {
	if s == "unlimited" {
		return r, nil
	}
	perSecond, burst, bursts := strings.Cut(s, ":")
	if r.PerSecond, err = strconv.ParseFloat(perSecond, 64); err == nil && bursts {
		r.Burst, err = strconv.Atoi(burst)
	}
	if err != nil || !(r.PerSecond > 0 && r.PerSecond <= 1e9) || bursts && (r.Burst < 1 || r.Burst > math.MaxInt32) {
		return conns.Rate{}, errors.New("no rate")
	}
	return r, nil
}

func counted(name, means string, field func(*ranch.Options) *int) limit {
	return limit{name, means, numbers, func(o *ranch.Options) string {
		if n := *field(o); n > 0 {
			return strconv.Itoa(n)
		}
		return "none"
	}, func(o *ranch.Options, s string) error {
		if s == "none" {
			*field(o) = 0
			return nil
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > math.MaxInt32 {
			return errors.New("no such number")
		}
		*field(o) = n
		return nil
	}}
}

// timed is a limit of time, of which none, spelt word, means that there is none. If that is not 0, and where 0 would
// be no time at all, 0s is for the library -1.
func timed(name, means, allowed, word string, none time.Duration, field func(*ranch.Options) *time.Duration) limit {
	zero := strings.HasPrefix(allowed, "0s")
	return limit{name, means, allowed, func(o *ranch.Options) string {
		switch d := *field(o); {
		case d == none || none < 0 && d < 0:
			return word
		case d < 0:
			return "0s"
		default:
			return d.String()
		}
	}, func(o *ranch.Options, s string) error {
		if s == word {
			*field(o) = none
			return nil
		}
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d == 0 && !zero {
			return errors.New("no such time")
		}
		if d == 0 {
			d = -1
		}
		*field(o) = d
		return nil
	}}
}

func limitsHelp() string {
	var b strings.Builder
	for _, l := range limits {
		fmt.Fprintf(&b, "  %-18s %s: %s\n", l.name, l.means, l.allowed)
	}
	return strings.TrimRight(b.String(), "\n")
}

func limitNames() []string {
	names := make([]string, len(limits))
	for i, l := range limits {
		names[i] = l.name
	}
	return names
}

func (a *admin) limits(_ context.Context, c *shell.Call) error {
	listeners := a.listeners()
	if len(c.Args) > 1 {
		return shell.Usage("limits shows them: to change them is limit %s", strings.Join(c.Args, " "))
	}
	if len(c.Args) == 1 {
		l, err := a.listener(c.Args[0])
		if err != nil {
			return err
		}
		listeners = []*ranch.Listener{l}
	}
	t := shell.Table{Columns: []shell.Column{
		{Key: "listener", Title: "LISTENER"}, {Key: "limit", Title: "LIMIT"}, {Key: "value", Title: "VALUE"}, {Key: "means", Title: "MEANS", Wide: true},
	}}
	for _, l := range listeners {
		o := l.Options()
		for _, one := range limits {
			t.Rows = append(t.Rows, []any{l.Ref(), one.name, one.get(&o), one.means})
		}
	}
	c.Return(t)
	return nil
}

func (a *admin) setLimits(_ context.Context, c *shell.Call) error {
	l, err := a.listener(c.Args[0])
	if err != nil {
		return err
	}
	changes, err := parseLimits(c.Args[1:])
	if err != nil {
		return err
	}
	t := shell.Table{Columns: []shell.Column{{Key: "listener", Title: "LISTENER"}, {Key: "limit", Title: "LIMIT"}, {Key: "value", Title: "VALUE"}, {Key: "was", Title: "WAS"}}}
	_, err = l.ChangeOptions(func(o *ranch.Options) {
		for _, i := range slices.Sorted(maps.Keys(changes)) {
			was := limits[i].get(o)
			limits[i].set(o, changes[i]) // it has been tried
			t.Rows = append(t.Rows, []any{l.Ref(), limits[i].name, limits[i].get(o), was})
		}
	})
	if err != nil {
		return err
	}
	c.Return(t)
	return nil
}

// parseLimits reads name=value, and tries each; the keys are places in limits. The error joins all faults.
func parseLimits(args []string) (map[int]string, error) {
	changes, scratch := map[int]string{}, ranch.Options{}
	var faults []string
	suggestion := ""
	for _, arg := range args {
		name, value, has := strings.Cut(arg, "=")
		i := slices.Index(limitNames(), name)
		_, twice := changes[i]
		switch {
		case i < 0 || !has:
			suggestion = nearest.Name(name, limitNames())
			faults = append(faults, fmt.Sprintf("%q: allowed are name=value with the names %s", arg, strings.Join(limitNames(), ", ")))
		case twice:
			faults = append(faults, fmt.Sprintf("%s is given twice", name))
		case limits[i].set(&scratch, value) != nil:
			faults = append(faults, fmt.Sprintf("%s %q: allowed are %s", name, value, limits[i].allowed))
		default:
			changes[i] = value
		}
	}
	if len(faults) > 0 {
		err := shell.Usage("%s", strings.Join(faults, "\n"))
		err.Suggestion = suggestion
		return nil, err
	}
	return changes, nil
}

// completeLimits completes a listener, and then names, and values of those that have few.
func (a *admin) completeLimits(ctx context.Context, c *shell.Call, args []string) []string {
	if len(args) == 1 {
		return a.completeListener(ctx, c, args)
	}
	var words []string
	for _, l := range limits {
		words = append(words, l.name+"=")
	}
	if strings.HasPrefix(args[len(args)-1], "evict=") {
		for p := conns.EvictNone; p <= conns.EvictRandom; p++ {
			words = append(words, "evict="+p.String())
		}
	}
	return words
}
