package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
)

const (
	gap       = "  " // between columns
	narrowest = 4    // shortening makes no column narrower
)

// column is a column of a table that is rendered.
type column struct {
	shell.Column
	cells []string // the title is the first
	width int
}

// table renders a table in lines of at most s.width columns of the terminal. It returns false if a
// is not a table.
func (s style) table(a *client.Answer) (string, bool) {
	var rows []map[string]any
	if a.Columns == nil || decode(a.Result, &rows) != nil {
		return "", false
	}
	var notes []string
	columns, hidden := fit(layOut(a.Columns, rows, s.width > 0), s.width)
	var b strings.Builder
	if len(rows) == 0 {
		notes = append(notes, "none")
	} else {
		s.rows(&b, columns, len(rows)+1)
	}
	if a.Total > len(rows) {
		notes = append(notes, fmt.Sprintf("%d of %d", len(rows), a.Total))
	}
	if len(hidden) > 0 && len(rows) > 0 {
		notes = append(notes, "not shown: "+strings.Join(hidden, ", "))
	}
	if len(notes) > 0 {
		note := "(" + strings.Join(notes, "; ") + ")"
		if s.width > 0 {
			note = shorten(note, s.width)
		}
		b.WriteString(s.dim(note) + "\n")
	}
	return b.String(), true
}

// rows writes n rows, of which the first is the titles.
func (s style) rows(b *strings.Builder, columns []column, n int) {
	for i := range n {
		var line strings.Builder
		for j, c := range columns {
			if j > 0 {
				line.WriteString(gap)
			}
			line.WriteString(pad(shorten(c.cells[i], c.width), c.width, c.Right))
		}
		text := strings.TrimRight(line.String(), " ")
		if s.width > 0 { // even the narrowest columns may not fit
			text = shorten(text, s.width)
		}
		if i == 0 {
			text = s.bold(text)
		}
		b.WriteString(text + "\n")
	}
}

// layOut formats all cells, for a terminal or not.
func layOut(columns []shell.Column, rows []map[string]any, terminal bool) []column {
	all := make([]column, len(columns))
	for i, c := range columns {
		title := visible(cmp.Or(c.Title, c.Key))
		all[i] = column{Column: c, cells: []string{title}, width: textWidth(title)}
		if c.Kind == shell.KindShare && !terminal {
			c.Kind = kindPercent
		}
		for _, row := range rows {
			cell := visible(formatCell(row[c.Key], c.Kind))
			all[i].cells = append(all[i].cells, cell)
			all[i].width = max(all[i].width, textWidth(cell))
		}
	}
	return all
}

// fit makes columns fit into width; 0 is no limit. It removes the columns marked as wide first,
// from the last, then shortens the widest columns, text before numbers. hidden is the titles of the
// removed columns.
func fit(columns []column, width int) (shown []column, hidden []string) {
	if width <= 0 {
		return columns, nil
	}
	for total(columns) > width {
		i := lastIndex(columns, func(c column) bool { return c.Wide })
		if i < 0 || len(columns) == 1 {
			break
		}
		hidden = append([]string{columns[i].cells[0]}, hidden...)
		columns = slices.Delete(columns, i, i+1)
	}
	for _, numbers := range []bool{false, true} {
		for total(columns) > width {
			widest := -1
			for i, c := range columns {
				if c.Right == numbers && c.width > narrowest && (widest < 0 || c.width > columns[widest].width) {
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			columns[widest].width--
		}
	}
	return columns, hidden
}

// total returns the width of a row.
func total(columns []column) int {
	n := len(gap) * (len(columns) - 1)
	for _, c := range columns {
		n += c.width
	}
	return n
}

func lastIndex(columns []column, ok func(column) bool) int {
	for i, c := range slices.Backward(columns) {
		if ok(c) {
			return i
		}
	}
	return -1
}

// decode decodes JSON, and keeps the notation of numbers.
func decode(raw json.RawMessage, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(v)
}
