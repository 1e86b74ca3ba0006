package shell

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"goranch/internal/termtext"
)

// cell returns a value as one line of text without control characters.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return termtext.Line(v)
	case time.Duration:
		return formatDuration(v)
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.Format(time.RFC3339)
	case float64:
		return strconv.FormatFloat(v, 'g', 6, 64)
	case error:
		return termtext.Line(v.Error())
	}
	return termtext.Line(fmt.Sprint(v))
}

// formatDuration rounds d to three or more significant digits.
func formatDuration(d time.Duration) string {
	switch abs := d.Abs(); {
	case abs >= time.Minute:
		d = d.Round(time.Second)
	case abs >= time.Second:
		d = d.Round(100 * time.Millisecond)
	case abs >= time.Millisecond:
		d = d.Round(10 * time.Microsecond)
	}
	return d.String()
}

// appendText appends the table in lines of at most width characters if possible: it omits Wide
// columns from the right, then shortens the cells of the longest columns to no less than four
// characters. 0 is no limit.
func (t Table) appendText(b []byte, width int) []byte {
	rows := make([][]string, len(t.Rows))
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = utf8.RuneCountInString(c.title())
	}
	for y, row := range t.Rows {
		rows[y] = make([]string, len(t.Columns))
		for i := range min(len(row), len(t.Columns)) {
			rows[y][i] = cell(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(rows[y][i]))
		}
	}
	shown := t.fit(widths, width)
	titles := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		titles[i] = c.title()
	}
	b = t.appendLine(b, titles, shown, widths)
	for _, row := range rows {
		b = t.appendLine(b, row, shown, widths)
	}
	if t.Total > len(t.Rows) {
		b = fmt.Appendf(b, "%d of %d\n", len(t.Rows), t.Total)
	}
	return b
}

func (c Column) title() string {
	if c.Title == "" {
		return c.Key
	}
	return c.Title
}

const gap = 2 // blanks between columns

// fit returns the indexes of the columns to show, and reduces widths to fit.
func (t Table) fit(widths []int, width int) (shown []int) {
	total := -gap
	for i, w := range widths {
		shown = append(shown, i)
		total += w + gap
	}
	if width <= 0 {
		return shown
	}
	for i := len(t.Columns) - 1; i >= 0 && total > width; i-- {
		if t.Columns[i].Wide && len(shown) > 1 {
			shown = slices.DeleteFunc(shown, func(at int) bool { return at == i })
			total -= widths[i] + gap
		}
	}
	for ; total > width; total-- {
		longest := slices.MaxFunc(shown, func(a, b int) int { return widths[a] - widths[b] })
		if widths[longest] <= 4 {
			break
		}
		widths[longest]--
	}
	return shown
}

// appendLine appends one row.
func (t Table) appendLine(b []byte, row []string, shown, widths []int) []byte {
	for n, i := range shown {
		s := shorten(row[i], widths[i])
		pad := widths[i] - utf8.RuneCountInString(s)
		if n > 0 {
			b = appendBlanks(b, gap)
		}
		if t.Columns[i].Right {
			b = appendBlanks(b, pad)
		}
		b = append(b, s...)
		if !t.Columns[i].Right && n < len(shown)-1 {
			b = appendBlanks(b, pad)
		}
	}
	return append(b, '\n')
}

func appendBlanks(b []byte, n int) []byte {
	for range n {
		b = append(b, ' ')
	}
	return b
}

// shorten cuts s to n characters, the last of which is an ellipsis.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(0, n-1)]) + "…"
}

// appendText appends the fields as lines of a title and a value, aligned and cut to width
// characters. 0 is no limit.
func (f Fields) appendText(b []byte, width int) []byte {
	longest := 0
	for _, field := range f {
		longest = max(longest, utf8.RuneCountInString(field.title()))
	}
	if width <= 0 {
		width = math.MaxInt
	}
	for _, field := range f {
		title := field.title()
		line := title + strings.Repeat(" ", longest-utf8.RuneCountInString(title)) + "  " + cell(field.Value)
		b = append(append(b, strings.TrimRight(shorten(line, width), " ")...), '\n')
	}
	return b
}

func (f Field) title() string {
	if f.Title == "" {
		return f.Key
	}
	return f.Title
}
