package nodes

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"goranch/protocol/shell"
)

// merge returns one table of the answers of nodes, which has the node as its first column. Fields
// become a row. The error is about too many values.
func merge(answers []answer, p page) (shell.Table, error) {
	t := shell.Table{Columns: []shell.Column{{Key: "node", Title: "NODE"}}, Rows: [][]any{}}
	index := map[string]int{"node": 0}
	total := 0
	for _, a := range answers {
		columns, rows, n := rowsOf(a.value)
		at := make([]int, len(columns))
		for i, c := range columns { // a node of another version may have others
			if c.Key == "node" { // who answers is known
				at[i] = -1
				continue
			}
			if _, known := index[c.Key]; !known {
				index[c.Key] = len(t.Columns)
				t.Columns = append(t.Columns, c)
			}
			at[i] = index[c.Key]
		}
		total += n
		if (len(t.Rows)+len(rows))*len(t.Columns) > maxValues {
			return shell.Table{}, errTooLarge
		}
		for _, values := range rows {
			row := make([]any, len(t.Columns))
			row[0] = a.node
			for i, v := range values {
				if at[i] >= 0 {
					row[at[i]] = v
				}
			}
			t.Rows = append(t.Rows, row)
		}
	}
	if p.sort != "" {
		sortRows(t.Rows, index, p)
	}
	if p.limit > 0 {
		t.Rows = t.Rows[min(p.offset, len(t.Rows)):]
		t.Rows = t.Rows[:min(p.limit, len(t.Rows))]
	}
	t.Total = total
	return t, nil
}

// rowsOf returns a result as rows, and the number of rows that exist.
func rowsOf(v any) (columns []shell.Column, rows [][]any, total int) {
	switch v := v.(type) {
	case shell.Table:
		return v.Columns, v.Rows, max(v.Total, len(v.Rows))
	case shell.Fields:
		row := make([]any, len(v))
		for i, f := range v {
			columns = append(columns, shell.Column{Key: f.Key, Title: strings.ToUpper(cmp.Or(f.Title, f.Key))})
			row[i] = f.Value
		}
		return columns, [][]any{row}, 1
	}
	return []shell.Column{{Key: "result", Title: "RESULT"}}, [][]any{{v}}, 1
}

// sortRows sorts as the commands do: the largest value first, except for peers. Rows that are equal
// stay in the order of the nodes.
func sortRows(rows [][]any, index map[string]int, p page) {
	keys := []string{p.sort}
	if p.sort == "bytes" {
		keys = []string{"read", "written"}
	}
	value := func(row []any, key string) any {
		if i, ok := index[key]; ok && i < len(row) {
			return row[i]
		}
		return nil
	}
	slices.SortStableFunc(rows, func(x, y []any) int {
		order := 0
		if p.sort == "peer" {
			order = comparePeers(value(x, "peer"), value(y, "peer"))
		} else {
			var sums [2]float64
			for _, key := range keys {
				sums[0] += magnitude(value(x, key))
				sums[1] += magnitude(value(y, key))
			}
			order = cmp.Compare(sums[1], sums[0])
		}
		if p.reverse {
			return -order
		}
		return order
	})
}

// magnitude returns a value as a number.
func magnitude(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	case shell.Bytes:
		return float64(v)
	case time.Duration:
		return float64(v)
	case time.Time:
		return float64(v.UnixNano())
	}
	return 0
}

func comparePeers(x, y any) int {
	a, _ := x.(string)
	b, _ := y.(string)
	p, _ := netip.ParseAddrPort(a)
	q, _ := netip.ParseAddrPort(b)
	return cmp.Or(p.Compare(q), cmp.Compare(a, b))
}
