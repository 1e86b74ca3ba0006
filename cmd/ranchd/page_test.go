package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"goranch/internal/settings"
)

const configurationPage = "../../docs/configuration.md"

// The tables of the page list the keys, as the schema has them.
func TestConfigurationPage(t *testing.T) {
	b, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	before := string(b)
	after := before
	for _, table := range []struct {
		mark string
		keys []settings.Key
		full bool
	}{
		{"keys", spec.Keys, true}, {"listener", tableOnly(spec.Tables[0].Keys), true},
		{"route", routeKeysTable, false}, {"limits", limitsTable, false}, {"network", networkKeysTable, false}, {"cluster", clusterKeysTable, false},
	} {
		part := regexp.MustCompile(`(?s)<!-- ` + table.mark + ` -->\n.*?<!-- end -->`)
		if !part.MatchString(after) {
			t.Fatalf("%s: got no place for the table %s, want one", configurationPage, table.mark)
		}
		text := "<!-- " + table.mark + " -->\n" + pageTable(table.keys, table.full) + "<!-- end -->"
		after = part.ReplaceAllLiteralString(after, text)
	}
	if *update {
		if err := os.WriteFile(configurationPage, []byte(after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(after, before); diff != "" && !*update {
		t.Errorf("%s differs from the keys; run go test ./cmd/ranchd -run ConfigurationPage -update (-want +got):\n%s", configurationPage, diff)
	}
}

// pageTable returns a table of keys in Markdown. full includes the columns on and change.
func pageTable(keys []settings.Key, full bool) string {
	var b strings.Builder
	if full {
		b.WriteString("| key | on | default | change | meaning |\n|---|---|---|---|---|\n")
	} else {
		b.WriteString("| key | default | meaning |\n|---|---|---|\n")
	}
	for _, k := range keys {
		def := "none"
		if k.Default != "" {
			def = "`" + k.Notation(k.Default) + "`"
		}
		help := strings.ReplaceAll(k.Help, "|", `\|`)
		if i := strings.LastIndex(help, " Default: "); i >= 0 {
			if k.Default == "" {
				def = strings.TrimSuffix(help[i+len(" Default: "):], ".")
			}
			help = help[:i]
		}
		if !full {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Name, def, help)
			continue
		}
		on := "process"
		if len(k.On) > 0 {
			on = strings.Join(k.On, ", ")
		}
		if on == "listener" {
			on = "all"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Name, on, def, changeText(k.Change), help)
	}
	return b.String()
}

// changeText says when a change takes effect.
func changeText(change string) string {
	switch change {
	case "listener":
		return "another listener"
	case "protocol":
		return "packet: now; others: restart"
	case "":
		return "restart"
	}
	return change
}

// The complete files that the page shows are valid, apart from files that they name.
func TestConfigurationPageShowsValidFiles(t *testing.T) {
	b, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(blocks) == 0 {
		t.Fatal("got no TOML, want some")
	}
	for _, block := range blocks {
		var v any
		if err := toml.Unmarshal([]byte(block[1]), &v); err != nil {
			t.Errorf("got %v, want TOML:\n%s", err, block[1])
		}
		_, err := newConfig(withDefaults(flags{Config: writeConfig(t, block[1]), Admin: "none"}), map[string]bool{"admin": true})
		if err == nil {
			continue
		}
		for _, fault := range faultsOf(err) {
			if !strings.Contains(fault.Error(), "no such file") {
				t.Errorf("got fault %v, want none in\n%s", fault, block[1])
			}
		}
	}
}
