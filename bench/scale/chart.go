package main

import (
	"fmt"
	"html"
	"math"
	"strings"

	"goranch/bench/internal/costs"
)

// chart is a plot of lines and points with two logarithmic axes.
type chart struct {
	title, x, y string
	series      []series
}

type series struct {
	name   string
	points []point
	dots   bool // points only
}

const (
	chartWidth, chartHeight            = 800, 420
	chartLeft, chartTop, chartBottom   = 70, 40, 370
	chartRight                         = 590 // the legend is right of it
	minDecade                          = -2
	legendLine, legendText, legendStep = 605, 640, 20
)

var colors = []string{"#c2553a", "#3a6ea5", "#4b8b3b", "#8a5fa8", "#777777"}

// svg draws the chart.
func (c chart) svg() string {
	x0, x1, y0, y1 := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range c.series {
		for _, p := range s.points {
			x0, x1 = min(x0, math.Log10(p.x)), max(x1, math.Log10(p.x))
			y0, y1 = min(y0, math.Log10(p.y)), max(y1, math.Log10(p.y))
		}
	}
	x0, x1, y0, y1 = math.Floor(x0), math.Ceil(x1), max(math.Floor(y0), minDecade), math.Ceil(y1)
	at := func(p point) (x, y float64) {
		return chartLeft + (math.Log10(p.x)-x0)/(x1-x0)*(chartRight-chartLeft),
			chartBottom - (max(math.Log10(p.y), y0)-y0)/(y1-y0)*(chartBottom-chartTop)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
<text x="10" y="20" font-weight="bold">%s</text>
`, chartWidth, chartHeight, html.EscapeString(c.title))
	for d := x0; d <= x1; d++ {
		x, _ := at(point{math.Pow(10, d), math.Pow(10, y0)})
		fmt.Fprintf(&b, `<line x1="%.0f" y1="%d" x2="%.0f" y2="%d" stroke="#ddd"/><text x="%.0f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, chartTop, x, chartBottom, x, chartBottom+16, number(math.Pow(10, d)))
	}
	for d := y0; d <= y1; d++ {
		_, y := at(point{math.Pow(10, x0), math.Pow(10, d)})
		fmt.Fprintf(&b, `<line x1="%d" y1="%.0f" x2="%d" y2="%.0f" stroke="#ddd"/><text x="%d" y="%.0f" text-anchor="end">%s</text>`+"\n",
			chartLeft, y, chartRight, y, chartLeft-6, y+4, number(math.Pow(10, d)))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text><text x="%d" y="%d">%s</text>`+"\n",
		(chartLeft+chartRight)/2, chartBottom+36, html.EscapeString(c.x), chartLeft+6, chartTop+14, html.EscapeString(c.y))
	for i, s := range c.series {
		color, legend := colors[i%len(colors)], chartTop+10+i*legendStep
		var line []string
		for _, p := range s.points {
			x, y := at(p)
			line = append(line, fmt.Sprintf("%.1f,%.1f", x, y))
			if s.dots {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`+"\n", x, y, color)
			}
		}
		if s.dots {
			fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="4" fill="%s"/>`, legendLine+12, legend-4, color)
		} else {
			fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/><line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="2"/>`,
				strings.Join(line, " "), color, legendLine, legend-4, legendLine+24, legend-4, color)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", legendText, legend, html.EscapeString(s.name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// nodesChart shows the time to the last subscriber by the number of nodes: what was measured, and
// the model for nodes on one processor and on machines of their own.
func nodesChart(m *model, f *costs.File) string {
	many := manyMembers(f)
	var measured, shared, spread, fixed series
	measured.name, measured.dots = "measured, one machine", true
	shared.name = "model, one machine"
	fixed.name = fmt.Sprintf("model: %s in all", thousands(many*10))
	spread.name = fmt.Sprintf("model: %s each", thousands(exMembers))
	for _, r := range validated(f) {
		if r.Mode == costs.Ordered && r.Members == many {
			measured.points = append(measured.points, point{float64(r.Nodes), r.Last.Median})
			shared.points = append(shared.points, point{float64(r.Nodes), m.predict(r).last})
		}
	}
	for _, n := range exNodes {
		c := exCluster(n)
		spread.points = append(spread.points, point{float64(n), m.simulate(c).last})
		c.members = many * 10
		fixed.points = append(fixed.points, point{float64(n), m.simulate(c).last})
	}
	return chart{
		title: "One message: time until the last subscriber has it", x: "nodes", y: "ms",
		series: []series{measured, shared, fixed, spread},
	}.svg()
}

// rateChart shows the p99 of the time to the last subscriber by the rate of messages.
func rateChart(m *model) string {
	c := chart{title: fmt.Sprintf("p99 of the time until the last of %s subscribers of each node has a message", thousands(exMembers)), x: "messages per second to one topic", y: "ms"}
	for _, n := range []int{1, 10, 100, 1000} {
		s := series{name: "nodes: " + thousands(n)}
		limit, _ := m.limits(exCluster(n))
		for _, share := range []float64{0.005, 0.02, 0.08, 0.25, 0.5, 0.8, 0.95} {
			e := exCluster(n)
			e.rate, e.messages = limit*share, max(60, 1000/n)
			s.points = append(s.points, point{1000 * e.rate, m.simulate(e).last99})
		}
		c.series = append(c.series, s)
	}
	return c.svg()
}
