package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"

	"goranch/conns"
	"goranch/ranch"
	"goranch/transport"
)

// Parsers of flag values. Their errors say what is allowed.

// infinity is the value of "infinity".
const infinity = ranch.Infinity

// maxAcceptors is the limit of package ranch.
const maxAcceptors = 10_000

func number(lowest, highest int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < lowest || n > highest {
			return 0, fmt.Errorf("allowed are the numbers %d to %d", lowest, highest)
		}
		return n, nil
	}
}

// orDefault returns 0, the default of package ranch, for a flag that is not given.
func orDefault(parse func(string) (int, error)) func(string) (int, error) {
	return func(s string) (int, error) {
		if s == "" {
			return 0, nil
		}
		return parse(s)
	}
}

// orUnlimited reads a number or "unlimited", which is ranch.Unlimited.
func orUnlimited(s string) (int, error) {
	if s == "unlimited" {
		return ranch.Unlimited, nil
	}
	n, err := number(1, math.MaxInt32)(s)
	if err != nil {
		err = fmt.Errorf("%w, and unlimited", err)
	}
	return n, err
}

// orZero is orUnlimited where no limit is 0.
func orZero(s string) (int, error) {
	n, err := orUnlimited(s)
	if n == ranch.Unlimited {
		n = 0
	}
	return n, err
}

// orNone replaces 0 by -1, for options where 0 is the default and -1 is none.
func orNone(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// maxSessions is orUnlimited where no limit is transport.NoLimit.
func maxSessions(s string) (int, error) {
	if s == "unlimited" {
		return transport.NoLimit, nil
	}
	return orUnlimited(s)
}

// positive reads a duration. It refuses 0, which could be understood as the default, as no time or
// as no limit.
func positive(s string) (time.Duration, error) {
	if d, err := notNegative(s); err == nil && d > 0 {
		return d, nil
	}
	return 0, errors.New("allowed are durations such as 500ms, 5s or 2m, and infinity")
}

func notNegative(s string) (time.Duration, error) {
	if s == "infinity" {
		return infinity, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("allowed are 0, durations such as 500ms, 5s or 2m, and infinity")
	}
	return d, nil
}

// orNoTimeout replaces infinity by transport.NoTimeout.
func orNoTimeout(d time.Duration) time.Duration {
	if d == infinity {
		return transport.NoTimeout
	}
	return d
}

// infinityAsZero replaces infinity by 0, for options where 0 is no limit.
func infinityAsZero(d time.Duration) time.Duration {
	if d == infinity {
		return 0
	}
	return d
}

// refuseAfter reads a value of ranch.Options.RefuseAfter, where 0 is infinity and -1 is 0. The
// former name of infinity, never, is still accepted.
func refuseAfter(s string) (time.Duration, error) {
	if s == "never" {
		return 0, nil
	}
	d, err := notNegative(s)
	if err == nil && d == 0 {
		return -1, nil
	}
	return infinityAsZero(d), err
}

func rate(s string) (conns.Rate, error) {
	if s == "unlimited" {
		return conns.Rate{}, nil
	}
	perSecond, burst, hasBurst := strings.Cut(s, ":")
	r, err := strconv.ParseFloat(perSecond, 64)
	n := 0
	if hasBurst && err == nil {
		n, err = number(1, math.MaxInt32)(burst)
	}
	if err != nil || !(r > 0 && r <= 1e9) {
		return conns.Rate{}, errors.New("allowed are numbers per second such as 100 or 0.5, with a burst such as 100:20, and unlimited")
	}
	return conns.Rate{PerSecond: r, Burst: n}, nil
}

func fraction(s string) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x >= 0 && x <= 1) {
		return 0, errors.New("allowed are fractions such as 0.9, up to 1, and 0 for no alarm")
	}
	return x, nil
}

// alarms returns the alarms of every listener. Windows has no limit of descriptors.
func alarms(descriptors float64) map[string]ranch.Alarm {
	if descriptors == 0 || runtime.GOOS == "windows" {
		return nil
	}
	return map[string]ranch.Alarm{"descriptors": {Descriptors: descriptors, Cooldown: time.Minute}}
}

// fileMode reads a file mode. It refuses 0, with which no client could connect and which package
// transport understands as not set.
func fileMode(s string) (fs.FileMode, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || n == 0 || n > uint64(fs.ModePerm) {
		return 0, errors.New("allowed are the octal numbers 0001 to 0777")
	}
	return fs.FileMode(n), nil
}

func oneOf[T any](allowed string, values map[string]T) func(string) (T, error) {
	return func(s string) (T, error) {
		v, ok := values[s]
		if !ok {
			return v, errors.New("allowed are " + allowed)
		}
		return v, nil
	}
}
