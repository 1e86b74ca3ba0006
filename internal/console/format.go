package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"goranch/protocol/shell"
	"goranch/transport"
)

// kindPercent is shell.KindShare without a bar, for output that is not a terminal.
const kindPercent = "percent"

// formatCell formats a value for people. A value that does not have the kind is shown as it was
// sent.
func formatCell(v any, kind string) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		if kind == shell.KindTime {
			if t, err := time.Parse(time.RFC3339, v); err == nil {
				return t.Local().Format(time.DateTime)
			}
		}
		return v
	case json.Number:
		return formatNumber(v, kind)
	case bool:
		return strconv.FormatBool(v)
	case map[string]any:
		if text, ok := formatLabels(v); ok {
			return text
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// formatLabels formats an object of texts as "key=value key=value".
func formatLabels(object map[string]any) (text string, ok bool) {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(object)) {
		value, ok := object[key].(string)
		if !ok {
			return "", false
		}
		words = append(words, transport.Label{Key: key, Value: value}.String())
	}
	return strings.Join(words, " "), true
}

func formatNumber(n json.Number, kind string) string {
	switch kind {
	case shell.KindShare:
		if f, err := n.Float64(); err == nil {
			return shell.Share(f).String()
		}
	case kindPercent:
		if f, err := n.Float64(); err == nil {
			return strconv.Itoa(int(f*100)) + " %"
		}
	case shell.KindBytes:
		if i, err := n.Int64(); err == nil {
			return formatBytes(i)
		}
	case shell.KindDuration:
		if f, err := n.Float64(); err == nil && math.Abs(f) < math.MaxInt64/1e9 {
			return formatDuration(time.Duration(f * 1e9))
		}
	}
	return n.String()
}

func formatBytes(n int64) string {
	if -1024 < n && n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		f /= 1024
		if math.Abs(f) < 1023.95 { // else it would be formatted as 1024.0
			return fmt.Sprintf("%.1f %s", f, unit)
		}
	}
	return fmt.Sprintf("%.1f EiB", f/1024)
}

// formatDuration rounds down: to about three digits below a second, to seconds below a day, then to
// days and hours.
func formatDuration(d time.Duration) string {
	size := d.Abs()
	switch {
	case size >= 24*time.Hour:
		d = d.Truncate(time.Hour)
		days := d / (24 * time.Hour)
		return fmt.Sprintf("%dd%dh", days, (d-days*24*time.Hour).Abs()/time.Hour)
	case size >= 10*time.Second:
		d = d.Truncate(time.Second)
	case size >= time.Second:
		d = d.Truncate(100 * time.Millisecond)
	case size >= 100*time.Millisecond:
		d = d.Truncate(time.Millisecond)
	case size >= time.Millisecond:
		d = d.Truncate(10 * time.Microsecond)
	}
	return d.String()
}

// visible escapes control characters and others that are not printable.
func visible(s string) string {
	isControl := func(r rune) bool { return !unicode.IsGraphic(r) }
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isControl(r) {
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
