package settings_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/settings"
)

type tableOptions struct {
	options
	Rate string `kind:"rate" name:"accept-rate"`
	Name string `top:"no"`
}

type routeOptions struct {
	To []string `kind:"list"`
}

// testSpec has a table of each form, and one in another.
func testSpec() *settings.Spec {
	keys := settings.Keys(tableOptions{}, kinds)
	return &settings.Spec{
		Keys: settings.Keys(options{}, kinds), Hint: "see the manual",
		Tables: []settings.Table{
			{Name: "listener", Keys: keys, Tables: []settings.Table{{Name: "route", Keys: settings.Keys(routeOptions{}, kinds)}}},
			{Name: "group", Named: true, Keys: keys},
		},
	}
}

func TestParse(t *testing.T) {
	doc, err := testSpec().Parse("f.toml", []byte(`# comment
max-conns = 0x1_0
hosts = "a"
"quiet" = true

[[listener]]
accept-rate = 1_0.5
hosts = [
  "a", # comment
  'b',
]
[group.x]
max-conns = +3
[[listener]]
accept-rate = "unlimited"
name = """
text"""
[group]
y.accept-rate = 7
z = { max-conns = 1, quiet = false }
`))
	if err != nil {
		t.Fatal(err)
	}
	values := func(list ...any) map[string]settings.Value {
		m := map[string]settings.Value{}
		for i := 0; i < len(list); i += 3 {
			m[list[i].(string)] = settings.Value{Line: list[i+1].(int), Items: list[i+2].([]string)}
		}
		return m
	}
	want := &settings.Document{
		File: "f.toml",
		Top:  settings.Section{Line: 1, Values: values("max-conns", 2, []string{"16"}, "hosts", 3, []string{"a"}, "quiet", 4, []string{"true"})},
		Tables: map[string][]settings.Section{
			"listener": {
				{Line: 6, Values: values("accept-rate", 7, []string{"10.5"}, "hosts", 8, []string{"a", "b"})},
				{Line: 14, Values: values("accept-rate", 15, []string{"unlimited"}, "name", 16, []string{"text"})},
			},
			"group": {
				{Name: "x", Line: 12, Values: values("max-conns", 13, []string{"3"})},
				{Name: "y", Line: 19, Values: values("accept-rate", 19, []string{"7"})},
				{Name: "z", Line: 20, Values: values("max-conns", 20, []string{"1"}, "quiet", 20, []string{"false"})},
			},
		},
	}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Tables in a table belong to the one before them.
func TestTablesInTables(t *testing.T) {
	doc, err := testSpec().Parse("f.toml", []byte(`[[listener]]
name = "a"
[[listener.route]]
to = ["x", "y"]
[[listener.route]]
to = "z"
[[listener]]
name = "b"
[[listener]]
name = "c"
route = [{to = "v"}]
[[listener]]
name = "d"
route = []
`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, l := range doc.Tables["listener"] {
		name := l.Values["name"].Items[0]
		if l.Tables["route"] != nil {
			got[name] = []string{}
		}
		for _, r := range l.Tables["route"] {
			got[name] = append(got[name], strings.Join(r.Values["to"].Items, " "))
		}
	}
	if diff := cmp.Diff(map[string][]string{"a": {"x y", "z"}, "c": {"v"}, "d": {}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An array that is empty differs from one that is not given.
func TestEmptyTables(t *testing.T) {
	doc, err := testSpec().Parse("f.toml", []byte("listener = []\n"))
	if err != nil || doc.Tables["listener"] == nil || doc.Tables["group"] != nil {
		t.Errorf("got %v and error %v, want no listeners, and groups that are not given", doc, err)
	}
}

func TestParseFaults(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not TOML":                    {"max-conns = 1\nquiet =\n", "f.toml:2: not valid TOML: "},
		"end of the file":             {"hosts = [", "f.toml:1: not valid TOML: "},
		"repeated key":                {"quiet = true\nquiet = true\n", "f.toml:2: not valid TOML: "},
		"repeated table":              {"[group.x]\n[group.x]\n", "f.toml:2: not valid TOML: "},
		"unknown key":                 {"\nmax-cons = 1", "f.toml:2: unknown key max-cons; did you mean max-conns?"},
		"underscores":                 {"MAX_CONNS = 1", "f.toml:1: unknown key MAX_CONNS; did you mean max-conns?"},
		"without a suggestion":        {"colour = 1", "f.toml:1: unknown key colour; see the manual"},
		"control characters":          {`"a\u001b[31m" = 1`, `f.toml:1: unknown key "a\x1b[31m"; see the manual`},
		"key of a table":              {"name = 'a'", "f.toml:1: unknown key name; it is allowed in table listener and in table group"},
		"unknown table":               {"[servers]\na = 1", "f.toml:1: unknown table servers; see the manual"},
		"misspelt table":              {"[[listeners]]\n[[listeners]]", "f.toml:1: unknown table listeners; did you mean listener?"},
		"key of another table":        {"[[listener]]\nname = 'a'\ngroup = 1", "f.toml:3: unknown key group in table listener; see the manual"},
		"key in a table of a table":   {"[[listener]]\n[[listener.route]]\nfrom = 'a'", "f.toml:3: unknown key from in table listener.route; see the manual"},
		"key of a table in a table":   {"to = 'a'", "f.toml:1: unknown key to; it is allowed in table listener.route"},
		"misspelt inner table":        {"[[listener]]\n[[listener.routes]]", "f.toml:2: unknown table routes in table listener; did you mean route?"},
		"table without its table":     {"[[route]]", "f.toml:1: unknown table route; see the manual"},
		"one bracket in a table":      {"[[listener]]\n[listener.route]\nto = 'a'", "f.toml:2: listener.route: allowed are tables with two brackets, [[listener.route]]"},
		"no list in a table":          {"[[listener]]\nroute = [1]", "f.toml:2: listener.route: allowed are tables, [[listener.route]]"},
		"value in a table of a table": {"[[listener]]\n[[listener.route]]\nto = 1", "f.toml:3: listener.route: to 1: allowed are texts; the value is an integer, not a string or an array of them"},
		"one bracket":                 {"[listener]\nname = 'a'", "f.toml:1: listener: allowed are tables with two brackets, [[listener]]"},
		"two brackets":                {"[[group]]\nname = 'a'", "f.toml:1: group: allowed are tables with a name, [group.NAME]"},
		"no name":                     {"[group]\nname = 'a'", "f.toml:2: group.name: allowed are tables, [group.NAME]"},
		"no tables":                   {"listener = [1]", "f.toml:1: listener: allowed are tables, [[listener]]"},
		"string for a number":         {"max-conns = '5'", `f.toml:1: max-conns "5": allowed are positive numbers; the value is a string, not an integer`},
		"float for a number":          {"max-conns = 5.5", "f.toml:1: max-conns 5.5: allowed are positive numbers; the value is a float, not an integer"},
		"date":                        {"[[listener]]\naccept-rate = 2026-01-01", "f.toml:2: listener: accept-rate 2026-01-01: allowed are numbers, and unlimited; the value is a date or time, not a float or an integer or a string"},
		"number in a list":            {"hosts = ['a', 1]", "f.toml:1: hosts 1: allowed are texts; the value is an integer, not a string or an array of them"},
		"array in a list":             {"hosts = [['a']]", "f.toml:1: hosts […]: allowed are texts; the value is an array, not a string or an array of them"},
		"array":                       {"quiet = [true]", "f.toml:1: quiet […]: allowed are true and false; the value is an array, not a boolean"},
		"table":                       {"[quiet]\na = 1", "f.toml:1: quiet {…}: allowed are true and false; the value is a table, not a boolean"},
		"a secret":                    {"max-conns = '''-----BEGIN PRIVATE KEY-----\nMIIB'''", `f.toml:1: max-conns "(not shown: it may be a secret)": allowed are positive numbers; the value is a string, not an integer`},
		"all, in order of lines": {"[[listener]]\nquiet = 1\n[group.x]\nname = 1\n[[listener]]\nmax-conns = true",
			"f.toml:2: listener: quiet 1: allowed are true and false; the value is an integer, not a boolean\n" +
				"f.toml:4: group: name 1: allowed are texts; the value is an integer, not a string\n" +
				"f.toml:6: listener: max-conns true: allowed are positive numbers; the value is a boolean, not an integer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := testSpec().Parse("f.toml", []byte(c.text))
			if err == nil {
				t.Fatalf("got no error, want %s", c.want)
			}
			syntax := strings.HasSuffix(c.want, "TOML: ")
			if got := err.Error(); got != c.want && !(syntax && strings.HasPrefix(got, c.want) && len(got) > len(c.want)) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestKeysPanicForUnknownKind(t *testing.T) {
	defer func() {
		if r := recover(); r != `settings: field A: unknown kind "x"` {
			t.Errorf("got %v, want a panic that names field and kind", r)
		}
	}()
	settings.Keys(struct {
		A string `kind:"x"`
	}{}, kinds)
}

// FuzzParse checks that every text is read or has faults with lines in it, and that a file without
// faults sets only known keys.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"max-conns = 1\nhosts = ['a']\n[[listener]]\nname = 'a'\n[group.x]\naccept-rate = 1.5\n",
		"listener = [{name = 'a', hosts = []}, {}]\ngroup.x.quiet = true\n",
		"[[listener]]\n[listener.sub]\na = 1\n[[listener.list]]\n", "[[listener]]\n[[listener.route]]\nto = 'a'\n[listener.route.x]\n", "a.b.c = 1\n[a.b]\n", "'' = 1\n[[a]]\n[a.b]\n[[a]]\n[a.b]\n", "\xef\xbb\xbfquiet = true", "hosts = [[[[[[",
	} {
		f.Add(seed)
	}
	spec := testSpec()
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := spec.Parse("f", []byte(text))
		if (doc == nil) && err == nil {
			t.Fatal("got neither a document nor an error, want one of them")
		}
		for _, e := range joined(err) {
			var fault *settings.Fault
			if !errors.As(e, &fault) || fault.Line < 0 || fault.Line > 1+strings.Count(text, "\n") {
				t.Errorf("got error %v, want a fault with a line of the text", e)
			}
			if strings.ContainsAny(e.Error(), "\x00\x1b\r\n") {
				t.Errorf("got error %q, want one without control characters", e)
			}
		}
		if doc == nil {
			return
		}
		var o tableOptions
		for _, sections := range append([][]settings.Section{{doc.Top}}, doc.Tables["listener"], doc.Tables["group"]) {
			for _, s := range sections {
				for name, v := range s.Values {
					k, ok := spec.Key(name)
					if !ok {
						t.Fatalf("got key %q, want a known one", name)
					}
					if name != "name" && name != "accept-rate" {
						k.Set(&o.options, v.Items)
					}
				}
			}
		}
	})
}

func joined(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
