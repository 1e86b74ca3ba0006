package shell

import (
	"fmt"
	"strconv"
	"strings"
)

// Table is a result of rows. Its JSON is an array of objects with the keys of the columns.
type Table struct {
	Columns []Column
	// Rows hold values of type string, bool, integer, float, time.Duration, time.Time, Bytes, Share
	// or fmt.Stringer. Durations are "1m3s" in text and seconds in JSON; times are RFC 3339 in
	// both.
	Rows [][]any
	// Total is the number of rows that exist if Rows is only a part of them; otherwise 0.
	Total int
}

// Column is a column of a [Table].
type Column struct {
	Key   string // JSON key: "read_bytes"
	Title string // text heading: "READ"; "" is Key
	Right bool   // aligned to the right
	Wide  bool   // omitted first if the terminal is too narrow
	Kind  string // how clients display the values: "" follows from the first row
}

// Kinds of columns.
const (
	KindBytes    = "bytes"    // an integer
	KindDuration = "duration" // seconds, possibly with a fraction
	KindTime     = "time"     // RFC 3339
	KindShare    = "share"    // a fraction from 0 to 1
)

// Fields is a result of names and values, in order. Its JSON is an object.
type Fields []Field

// Field is one element of [Fields].
type Field struct {
	Key   string // JSON key
	Title string // text label; "" is Key
	Value any    // as in Table.Rows
}

// Bytes is a number of bytes: "1.2 MiB" in text, an integer in JSON.
type Bytes uint64

// String returns the number with a binary unit.
func (b Bytes) String() string {
	if b < 1024 {
		return strconv.FormatUint(uint64(b), 10) + " B"
	}
	v, unit := float64(b)/1024, 0
	for v >= 1023.95 && unit < 5 {
		v /= 1024
		unit++
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + "KMGTPE"[unit:unit+1] + "iB"
}

// Share is a fraction from 0 to 1, such as the progress of a command: a bar with a percentage in
// text, a number in JSON.
type Share float64

// shareWidth is the number of characters of the bar of a Share.
const shareWidth = 20

// String returns a bar of 20 characters and a percentage, rounded down: "[#####     ]  25 %".
func (s Share) String() string {
	f := min(max(float64(s), 0), 1)
	full := int(f * shareWidth)
	return fmt.Sprintf("[%s%s] %3d %%", strings.Repeat("#", full), strings.Repeat(" ", shareWidth-full), int(f*100))
}
