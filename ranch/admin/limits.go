package admin

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"goranch/conns"
	"goranch/ranch"
	"goranch/transport"
)

// limit is an option of a listener that the commands limits and limit show and set.
type limit struct {
	name, alias string // alias is a former name, which is still accepted; "" is none
	description string
	allowed     string // completes "allowed are ..."
	get         func(*ranch.Options) string
	set         func(*ranch.Options, string) error
}

const (
	durations         = "durations such as 500ms, 5s or 2m, and infinity"
	counts            = "numbers from 1, and unlimited"
	durationsFromZero = "0s, durations such as 500ms, 5s or 2m, and infinity"
	delays            = "0s, and durations such as 500ms, 5s or 2m"
	rates             = "numbers per second such as 100 or 0.5, with a burst such as 100:20, and unlimited"
)

// errValue is returned by the set of a limit. The caller says what is allowed.
var errValue = errors.New("invalid value")

// limits are in the order in which they are shown.
var limits = []limit{
	rateLimit("accept-rate", "connections accepted per second", func(o *ranch.Options) *conns.Rate { return &o.AcceptRate }),
	rateLimit("address-rate", "connections accepted per second from one source address", func(o *ranch.Options) *conns.Rate { return &o.AddressRate }),
	countLimit("max-per-address", "connections of one source address", func(o *ranch.Options) *int { return &o.PerAddress }),
	countLimit("max-handshakes", "handshakes in progress", func(o *ranch.Options) *int { return &o.MaxHandshakes }),
	timeLimit(limit{name: "handshake-timeout", description: "time limit of a handshake", allowed: durations},
		transport.NoTimeout, func(o *ranch.Options) *time.Duration { return &o.HandshakeTimeout }),
	countLimit("receive-rate", "bytes per second that a connection receives", func(o *ranch.Options) *int { return &o.ReceiveRate }),
	countLimit("send-rate", "bytes per second that a connection sends", func(o *ranch.Options) *int { return &o.SendRate }),
	countLimit("total-receive-rate", "bytes per second that all connections receive", func(o *ranch.Options) *int { return &o.TotalReceiveRate }),
	countLimit("total-send-rate", "bytes per second that all connections send", func(o *ranch.Options) *int { return &o.TotalSendRate }),
	timeLimit(limit{name: "login-timeout", description: "ends connections whose login takes longer", allowed: durations},
		0, func(o *ranch.Options) *time.Duration { return &o.LoginTimeout }),
	countLimit("max-unestablished", "connections in the login phase", func(o *ranch.Options) *int { return &o.MaxUnestablished }),
	timeLimit(limit{name: "idle-timeout", description: "ends connections without traffic for this long", allowed: durations},
		0, func(o *ranch.Options) *time.Duration { return &o.IdleTimeout }),
	timeLimit(limit{name: "read-timeout", description: "ends connections that have received nothing for this long", allowed: durations},
		0, func(o *ranch.Options) *time.Duration { return &o.ReadTimeout }),
	timeLimit(limit{name: "write-timeout", description: "ends connections that have sent nothing for this long", allowed: durations},
		0, func(o *ranch.Options) *time.Duration { return &o.WriteTimeout }),
	minimum("min-receive-rate", "bytes per second that a client must send while its message is incomplete",
		func(o *ranch.Options) *int { return &o.MinReceiveRate }),
	timeLimit(limit{name: "lifetime", description: "ends connections at this age", allowed: durations},
		0, func(o *ranch.Options) *time.Duration { return &o.Lifetime }),
	{name: "lifetime-jitter", description: "largest fraction by which lifetimes are shortened at random", allowed: "fractions from 0 to 1",
		get: func(o *ranch.Options) string { return strconv.FormatFloat(o.LifetimeJitter, 'g', -1, 64) },
		set: func(o *ranch.Options, s string) (err error) {
			o.LifetimeJitter, err = strconv.ParseFloat(s, 64)
			return err
		}},
	timeLimit(limit{name: "park-after", alias: "rest-after",
		description: "idle time after which a connection is parked, without a goroutine", allowed: durations},
		transport.NoTimeout, func(o *ranch.Options) *time.Duration { return &o.ParkAfter }),
	timeLimit(limit{name: "refuse-after",
		description: "time a connection waits at the cap before it is refused", allowed: durationsFromZero},
		0, func(o *ranch.Options) *time.Duration { return &o.RefuseAfter }),
	timeLimit(limit{name: "shutdown-timeout",
		description: "time from asking a connection to stop until it is closed", allowed: durationsFromZero},
		ranch.Infinity, func(o *ranch.Options) *time.Duration { return &o.ShutdownTimeout }),
	delayLimit("drain-delay", "time for which a drained listener still accepts connections", func(o *ranch.Options) *time.Duration { return &o.DrainDelay }),
	delayLimit("drain-spread", "period over which a drain asks connections to stop", func(o *ranch.Options) *time.Duration { return &o.DrainSpread }),
	{name: "evict", description: "which connections are evicted when the cap is lowered", allowed: "none, oldest, most-idle and random",
		get: func(o *ranch.Options) string { return string(o.Evict) },
		set: func(o *ranch.Options, s string) error {
			if former, ok := formerPolicies[s]; ok {
				s = former
			}
			if !slices.Contains(policies, s) {
				return fmt.Errorf("eviction policy %q: allowed are %q", s, policies)
			}
			o.Evict = conns.EvictionPolicy(s)
			return nil
		}},
}

// policies are the eviction policies, and formerPolicies their former names.
var (
	policies       = []string{string(conns.EvictNone), string(conns.EvictOldest), string(conns.EvictMostIdle), string(conns.EvictRandom)}
	formerPolicies = map[string]string{"nobody": string(conns.EvictNone), "idlest": string(conns.EvictMostIdle)}
)

// limitIndex returns the index in limits of a limit by its name or alias, or -1.
func limitIndex(name string) int {
	return slices.IndexFunc(limits, func(l limit) bool { return name != "" && (l.name == name || l.alias == name) })
}

func limitNames() []string {
	names := make([]string, len(limits))
	for i, l := range limits {
		names[i] = l.name
	}
	return names
}

func rateLimit(name, description string, field func(*ranch.Options) *conns.Rate) limit {
	return limit{name: name, description: description, allowed: rates,
		get: func(o *ranch.Options) string { return formatRate(*field(o)) },
		set: func(o *ranch.Options, s string) (err error) {
			*field(o), err = parseRate(s)
			return err
		}}
}

func formatRate(r conns.Rate) string {
	if r.PerSecond <= 0 {
		return "unlimited"
	}
	s := strconv.FormatFloat(r.PerSecond, 'g', -1, 64)
	if r.Burst > 0 {
		s += ":" + strconv.Itoa(r.Burst)
	}
	return s
}

func parseRate(s string) (r conns.Rate, err error) {
	if s == "unlimited" {
		return r, nil
	}
	perSecond, burst, hasBurst := strings.Cut(s, ":")
	if r.PerSecond, err = strconv.ParseFloat(perSecond, 64); err == nil && hasBurst {
		r.Burst, err = strconv.Atoi(burst)
	}
	if err != nil || !(r.PerSecond > 0 && r.PerSecond <= 1e9) || hasBurst && (r.Burst < 1 || r.Burst > math.MaxInt32) {
		return conns.Rate{}, errValue
	}
	return r, nil
}

// countLimit returns a limit that is a number, or unlimited, of which none is a former name.
func countLimit(name, description string, field func(*ranch.Options) *int) limit {
	l := minimum(name, description, field)
	l.allowed = counts
	get, set := l.get, l.set
	l.get = func(o *ranch.Options) string {
		if *field(o) <= 0 {
			return "unlimited"
		}
		return get(o)
	}
	l.set = func(o *ranch.Options, s string) error {
		if n, err := strconv.Atoi(s); err == nil && n == 0 {
			return errValue
		}
		if s == "unlimited" {
			s = "0"
		}
		return set(o, s)
	}
	return l
}

// minimum returns a limit that is a number, where 0 is no minimum, of which none is a former name.
func minimum(name, description string, field func(*ranch.Options) *int) limit {
	return limit{name: name, description: description, allowed: "numbers from 0",
		get: func(o *ranch.Options) string { return strconv.Itoa(max(*field(o), 0)) },
		set: func(o *ranch.Options, s string) error {
			if s == "none" {
				s = "0"
			}
			n, err := strconv.Atoi(s)
			if err != nil || n < 0 || n > math.MaxInt32 {
				return errValue
			}
			*field(o) = n
			return nil
		}}
}

// timeLimit completes l. none is the value of infinity in the options. If l allows 0s, the options
// represent it as -1, because their 0 is the default.
func timeLimit(l limit, none time.Duration, field func(*ranch.Options) *time.Duration) limit {
	allowsZero := l.allowed == durationsFromZero
	l.get = func(o *ranch.Options) string {
		switch d := *field(o); {
		case d == none || !allowsZero && d < 0: // NoTimeout is the same as 0 where 0 is no limit
			return "infinity"
		case d < 0:
			return "0s"
		default:
			return d.String()
		}
	}
	l.set = func(o *ranch.Options, s string) error {
		if s == "infinity" || s == "none" || s == "never" { // none and never are former names
			*field(o) = none
			return nil
		}
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d == 0 && !allowsZero {
			return errValue
		}
		if d == 0 {
			d = -1
		}
		*field(o) = d
		return nil
	}
	return l
}

// delayLimit returns a limit that is a duration, by default 0s.
func delayLimit(name, description string, field func(*ranch.Options) *time.Duration) limit {
	return limit{name: name, description: description, allowed: delays,
		get: func(o *ranch.Options) string { return field(o).String() },
		set: func(o *ranch.Options, s string) error {
			if s == "none" { // a former name
				s = "0s"
			}
			d, err := time.ParseDuration(s)
			if err != nil || d < 0 {
				return errValue
			}
			*field(o) = d
			return nil
		}}
}
