package admin

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"goranch/internal/descriptors"
	"goranch/protocol/shell"
)

func (a *admin) alarmCommands() []shell.Command {
	return []shell.Command{
		{Name: "alarms", Role: shell.Viewer, Run: a.alarms,
			Help: "List the alarms of all listeners and whether their thresholds are reached."},
	}
}

var alarmColumns = []shell.Column{
	{Key: "listener", Title: "LISTENER"}, {Key: "alarm", Title: "ALARM"}, {Key: "metric", Title: "METRIC"},
	{Key: "threshold", Title: "THRESHOLD", Right: true}, {Key: "value", Title: "VALUE", Right: true},
	{Key: "reached", Title: "REACHED"}, {Key: "cooldown", Title: "COOLDOWN", Right: true, Kind: shell.KindDuration},
}

func (a *admin) alarms(_ context.Context, c *shell.Call) error {
	t := shell.Table{Columns: alarmColumns}
	open, limit, err := descriptors.Count()
	for _, l := range a.listeners() {
		alarms := l.Options().Alarms
		for _, name := range slices.Sorted(maps.Keys(alarms)) {
			al := alarms[name]
			metric, threshold, value := "connections", al.Connections, l.Info().ActiveConnections
			if al.Descriptors > 0 {
				if err != nil {
					continue
				}
				metric, threshold, value = "descriptors", int(math.Ceil(al.Descriptors*float64(limit))), open
			}
			cooldown := al.Cooldown
			if cooldown == 0 {
				cooldown = 5 * time.Second
			}
			t.Rows = append(t.Rows, []any{l.Ref(), name, metric, threshold, value, value >= threshold, cooldown})
		}
	}
	c.Return(t)
	return nil
}
