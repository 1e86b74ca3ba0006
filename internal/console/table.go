package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Between columns, and how narrow shortening may make one.
const (
	gap       = "  "
	narrowest = 4
)

// column is one that is shown.
type column struct {
	Column
	cells []string // the title first
	width int
}

// table writes rows so that lines have no more than width cells; 0 is no limit. It
// returns false if a is no table.
func (s Style) table(a *Answer) (string, bool) {
	var rows []map[string]any
	if a.Columns == nil || decode(a.Result, &rows) != nil {
		return "", false
	}
	var notes []string
	columns := layOut(a.Columns, rows)
	columns, left := fit(columns, s.Width)
	var b strings.Builder
	if len(rows) == 0 {
		notes = append(notes, "none")
	} else {
		s.rows(&b, columns, len(rows)+1)
	}
	if a.Total > len(rows) {
		notes = append(notes, fmt.Sprintf("%d of %d", len(rows), a.Total))
	}
	if len(left) > 0 && len(rows) > 0 {
		notes = append(notes, "no room for "+strings.Join(left, ", "))
	}
	if len(notes) > 0 {
		note := "(" + strings.Join(notes, "; ") + ")"
		if s.Width > 0 {
			note = shorten(note, s.Width)
		}
		b.WriteString(s.dim(note) + "\n")
	}
	return b.String(), true
}

func (s Style) rows(b *strings.Builder, columns []column, n int) {
	for i := range n {
		var line strings.Builder
		for j, c := range columns {
			if j > 0 {
				line.WriteString(gap)
			}
			line.WriteString(pad(shorten(c.cells[i], c.width), c.width, c.Right))
		}
		text := strings.TrimRight(line.String(), " ")
		if s.Width > 0 { // when there is not even room for the narrowest columns
			text = shorten(text, s.Width)
		}
		if i == 0 {
			text = s.bold(text)
		}
		b.WriteString(text + "\n")
	}
}

func layOut(columns []Column, rows []map[string]any) []column {
	all := make([]column, len(columns))
	for i, c := range columns {
		title := visible(cmp.Or(c.Title, c.Key))
		all[i] = column{Column: c, cells: []string{title}, width: textWidth(title)}
		for _, row := range rows {
			cell := visible(formatCell(row[c.Key], c.Kind))
			all[i].cells = append(all[i].cells, cell)
			all[i].width = max(all[i].width, textWidth(cell))
		}
	}
	return all
}

// fit makes columns fit: the wide ones go, the last first, then the widest are made
// narrower, text before numbers. It returns also the titles of those that went.
func fit(columns []column, width int) (fitting []column, left []string) {
	if width <= 0 {
		return columns, nil
	}
	for total(columns) > width {
		i := lastIndex(columns, func(c column) bool { return c.Wide })
		if i < 0 || len(columns) == 1 {
			break
		}
		left = append([]string{columns[i].cells[0]}, left...)
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
	return columns, left
}

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

// decode keeps numbers as they were written.
func decode(raw json.RawMessage, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(v)
}
