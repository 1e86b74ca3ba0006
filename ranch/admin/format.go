package admin

import (
	"net"
	"strconv"
	"time"

	"goranch/internal/listenaddr"
	"goranch/ranch"
)

// plural returns n and the noun in the form for n.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// since returns the time since t in whole milliseconds.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// capValue returns a cap as tables show it.
func capValue(n int) any {
	if n == ranch.Unlimited {
		return "unlimited"
	}
	return n
}

// addrString returns "" for nil.
func addrString(a net.Addr) string {
	if a == nil {
		return ""
	}
	return listenaddr.String(a)
}
