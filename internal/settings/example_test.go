package settings_test

import (
	"fmt"

	"goranch/internal/settings"
)

type options struct {
	MaxConns string   `kind:"count" default:"100" help:"Connections. Default: ${default}."`
	Hosts    []string `help:"Hosts, as with --other; see --quiet." example:"[\"a\"]"`
	Quiet    bool     `default:"false" help:"Print nothing."`
}

var kinds = map[string]settings.Kind{
	"count": {Types: []settings.Type{settings.Integer}, Allowed: "positive numbers", Schema: map[string]any{"type": "integer", "minimum": 1}},
	"text":  {Types: []settings.Type{settings.String}, Allowed: "texts"},
	"list":  {Types: []settings.Type{settings.String}, List: true, Allowed: "texts"},
	"bool":  {Types: []settings.Type{settings.Bool}, Allowed: "true and false"},
	"rate":  {Types: []settings.Type{settings.Float, settings.Integer, settings.String}, Allowed: "numbers, and unlimited"},
}

func Example() {
	spec := settings.Spec{Keys: settings.Keys(options{}, kinds), Hint: "see the manual"}
	var o options
	settings.SetDefaults(&o, spec.Keys)
	doc, err := spec.Parse("server.toml", []byte("hosts = ['a', 'b']\nmax-cons = 3\n"))
	for name, value := range doc.Top.Values {
		k, _ := spec.Key(name)
		k.Set(&o, value.Items)
	}
	fmt.Println(o.MaxConns, o.Hosts)
	fmt.Println(err)
	fmt.Print(settings.Sample(spec.Keys))
	// Output:
	// 100 [a b]
	// server.toml:2: unknown key max-cons; did you mean max-conns?
	//
	// # Connections. Default: 100.
	// max-conns = 100
	//
	// # Hosts, as with --other; see quiet.
	// # hosts = ["a"]
	//
	// # Print nothing.
	// quiet = false
}
