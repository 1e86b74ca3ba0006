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
)

// What flags mean: each function reads one kind of value, and says what is allowed.

// maxAcceptors is package ranch's limit.
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

// orDefault leaves a flag that was not given to the library.
func orDefault(parse func(string) (int, error)) func(string) (int, error) {
	return func(s string) (int, error) {
		if s == "" {
			return 0, nil
		}
		return parse(s)
	}
}

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

// positive reads a time. 0 is refused: to the library it is the default, to an operator
// no time at all, or no limit.
func positive(s string) (time.Duration, error) {
	if d, err := notNegative(s); err == nil && d > 0 {
		return d, nil
	}
	return 0, errors.New("allowed are times such as 500ms, 5s or 2m, and infinity")
}

func notNegative(s string) (time.Duration, error) {
	if s == "infinity" {
		return infinity, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("allowed are 0, times such as 500ms, 5s or 2m, and infinity")
	}
	return d, nil
}

// never translates infinity to the library's word for no limit.
func never(d time.Duration) time.Duration {
	if d == infinity {
		return -1
	}
	return d
}

// zero translates infinity to the library's word for no limit where that is 0.
func zero(d time.Duration) time.Duration {
	if d == infinity {
		return 0
	}
	return d
}

func refuseAfter(s string) (time.Duration, error) {
	if s == "never" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("allowed are never, 0, and times such as 500ms, 5s or 2m")
	}
	if d == 0 {
		return -1, nil
	}
	return d, nil
}

// orNoLimit reads a number where the library's word for no limit is 0.
func orNoLimit(s string) (int, error) {
	n, err := orUnlimited(s)
	if n == ranch.Unlimited {
		n = 0
	}
	return n, err
}

func rate(s string) (conns.Rate, error) {
	if s == "unlimited" {
		return conns.Rate{}, nil
	}
	perSecond, burst, bursts := strings.Cut(s, ":")
	r, err := strconv.ParseFloat(perSecond, 64)
	n := 0
	if bursts && err == nil {
		n, err = number(1, math.MaxInt32)(burst)
	}
	if err != nil || !(r > 0 && r <= 1e9) {
		return conns.Rate{}, errors.New("allowed are numbers per second such as 100 or 0.5, with a burst such as 100:20, and unlimited")
	}
	return conns.Rate{PerSecond: r, Burst: n}, nil
}

func share(s string) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x >= 0 && x <= 1) {
		return 0, errors.New("allowed are shares such as 0.9, up to 1, and 0 for none")
	}
	return x, nil
}

// alarms are what the daemon warns of by itself.
func alarms(share float64) map[string]ranch.Alarm {
	if share == 0 || runtime.GOOS == "windows" {
		return nil
	}
	return map[string]ranch.Alarm{"descriptors": {Descriptors: share, Cooldown: time.Minute}}
}

// fileMode reads permissions. 0 is refused: nobody could connect, and to the library
// it is the umask's choice.
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
