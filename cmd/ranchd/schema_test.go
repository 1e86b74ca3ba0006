package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"goranch/internal/settings"
)

// probes are values, in the notation of TOML, that some kinds of settings allow and others do not.
var probes = []string{
	"true", "0", "1", "-1", "33", "128", "129", "255", "256", "10000", "10001", "2147483647", "2147483648", "1000000000", "1000000001",
	"0.5", "1.0", "1.5", "-0.5", "[]", `["a"]`, "[1]", "2026-01-01", "inf", "nan", `""`, `"a"`, `"1"`, `"0"`, `"5"`, `"0.5"`,
	`"unlimited"`, `"infinity"`, `"never"`, `"5s"`, `"0s"`, `"0.5s"`, `"1m30s"`, `"-1s"`, `"5"`, `"100:20"`, `"100:0"`, `"0.5:20"`, `"0:20"`, `"1:2:3"`,
	`"0660"`, `"0o660"`, `"0"`, `"0888"`, `"1000"`, `"1.2"`, `"1.3"`, "1.3", `"default"`, `"refuse"`, `"random"`, `"djb"`, `"info"`, `"json"`,
	`"none"`, `"oldest"`, `"echo"`, `"packet"`,
}

// open are the kinds whose parsers check more than a schema can express.
var openKinds = []string{"text", "file", "list", "files", "networks", "prefix"}

// The schema accepts the values that the parsers accept, and for most kinds no others.
func TestSchemaAgreesWithParsers(t *testing.T) {
	t.Chdir(t.TempDir()) // some probes are names of files
	var schema map[string]any
	if err := json.Unmarshal(spec.Schema("ranchd"), &schema); err != nil {
		t.Fatal(err)
	}
	checked := map[string]bool{}
	for _, k := range slices.Concat(allKeys, routeKeysTable, limitsTable, networkKeysTable, clusterKeysTable) {
		head := "[[listener]]\nname = 'a'\naddress = 'tls+unix:/a'\n"
		switch {
		case k.Name == "fallback":
			head = "[[listener]]\naddress = ':1'\n"
		case slices.ContainsFunc(routeKeysTable, func(o settings.Key) bool { return reflect.DeepEqual(o, k) }):
			head = "[[listener]]\naddress = ':1'\nprotocol = 'relay'\n[[listener.route]]\n"
		case slices.ContainsFunc(limitsTable, func(o settings.Key) bool { return reflect.DeepEqual(o, k) }):
			head = "[limits.x]\n"
		case slices.ContainsFunc(networkKeysTable, func(o settings.Key) bool { return reflect.DeepEqual(o, k) }):
			head = "[[network]]\nprefix = '::/1'\n"
		case slices.ContainsFunc(clusterKeysTable, func(o settings.Key) bool { return reflect.DeepEqual(o, k) }):
			head = "state = '.'\n[cluster]\n"
			if k.Name == "replicas" { // up to the number of nodes
				head += "listen = ':1'\npeers = [':2', ':3', ':4', ':5']\n"
			}
		case k.Name == "protocol":
		case k.TableOnly && k.Name != "name" && k.Name != "address":
			head = "[[listener]]\naddress = ':1'\nprotocol = 'packet'\n"
		case k.TableOnly:
			head = "[[listener]]\n"
		default:
			head = "listener = []\n"
		}
		for _, probe := range probes {
			line := k.Name + " = " + probe + "\n"
			text := head + line
			if k.Name == "prefix" {
				text = "[[network]]\n" + line
			}
			bySchema, byParser := validates(t, schema, text), accepts(t, k.Name, text)
			isOpen := slices.ContainsFunc(openKinds, func(name string) bool { return reflect.DeepEqual(kinds[name], k.Kind) })
			if byParser && !bySchema || bySchema && !byParser && !isOpen {
				t.Errorf("%s: got %v by the schema, %v by the parser; want the same", strings.TrimSpace(line), bySchema, byParser)
			}
			if byParser {
				checked[k.Name] = true
			}
		}
		if !checked[k.Name] && !slices.Contains([]string{"address", "admin", "program", "cert", "key", "client-ca", "tokens", "state", "access-log", "ban-file", "prefix", "shell-root", "proxy-from", "operator", "viewer"}, k.Name) {
			t.Errorf("%s: got no probe that the parser accepts, want one", k.Name)
		}
	}
}

// accepts reports whether the parsers find no fault of the key in a file.
func accepts(t *testing.T, key, text string) bool {
	t.Helper()
	if err := os.WriteFile("r.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := newConfig(withDefaults(flags{Config: "r.toml", Admin: "none"}), map[string]bool{"admin": key != "admin"})
	if err == nil {
		return true
	}
	named := regexp.MustCompile(`(^|[^-a-z])` + key + `($|[^-a-z])`)
	for _, fault := range faultsOf(err) {
		if strings.Contains(fault.Error(), "allowed only") || strings.Contains(fault.Error(), " is missing: ") {
			continue // another key is missing
		}
		if named.MatchString(fault.Error()) {
			return false
		}
	}
	return true
}

// withDefaults returns f with the defaults of keys without a value.
func withDefaults(f flags) flags {
	for _, k := range allKeys {
		if k.Default != "" && k.Text(&f) == "" {
			k.Set(&f, []string{k.Default})
		}
	}
	return f
}

// validates reports whether a file is valid under the schema.
func validates(t *testing.T, schema map[string]any, text string) bool {
	t.Helper()
	var v any
	if err := toml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return valid(t, schema, v)
}

// valid implements the part of JSON schema that the schema uses.
func valid(t *testing.T, schema map[string]any, v any) bool {
	t.Helper()
	for keyword, arg := range schema {
		ok := true
		switch keyword {
		case "type":
			types, isList := arg.([]any)
			if !isList {
				types = []any{arg}
			}
			ok = slices.ContainsFunc(types, func(name any) bool { return isType(v, name.(string)) })
		case "enum":
			ok = slices.ContainsFunc(arg.([]any), func(x any) bool { return fmt.Sprintf("%T %v", numberOf(x), x) == fmt.Sprintf("%T %v", numberOf(v), v) })
		case "minimum", "maximum", "exclusiveMinimum":
			x, isNumber := numberOf(v).(float64)
			limit := arg.(float64)
			ok = !isNumber || keyword == "minimum" && x >= limit || keyword == "maximum" && x <= limit || keyword == "exclusiveMinimum" && x > limit
		case "pattern":
			s, isString := v.(string)
			ok = !isString || regexp.MustCompile(arg.(string)).MatchString(s)
		case "anyOf":
			ok = slices.ContainsFunc(arg.([]any), func(s any) bool { return valid(t, s.(map[string]any), v) })
		case "items":
			list, _ := v.([]any)
			ok = !slices.ContainsFunc(list, func(item any) bool { return !valid(t, arg.(map[string]any), item) })
		case "properties", "additionalProperties":
			ok = validObject(t, schema, v)
		case "$schema", "title", "description", "default":
		default:
			t.Fatalf("got keyword %s in the schema, want one that this test knows", keyword)
		}
		if !ok {
			return false
		}
	}
	return true
}

// validObject checks properties and additionalProperties.
func validObject(t *testing.T, schema map[string]any, v any) bool {
	t.Helper()
	object, isObject := v.(map[string]any)
	properties, _ := schema["properties"].(map[string]any)
	for name, value := range object {
		if p, known := properties[name]; known {
			if !valid(t, p.(map[string]any), value) {
				return false
			}
		} else if other, isSchema := schema["additionalProperties"].(map[string]any); isSchema {
			if !valid(t, other, value) {
				return false
			}
		} else {
			return false
		}
	}
	return isObject
}

func isType(v any, name string) bool {
	switch v := v.(type) {
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case int64:
		return name == "integer" || name == "number"
	case float64: // JSON schema regards 1.0 as an integer; files distinguish it
		return name == "number"
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	case fmt.Stringer: // a date
		return false
	default:
		panic(fmt.Sprintf("value of type %T", v))
	}
}

// numberOf returns a number as a float64.
func numberOf(v any) any {
	if n, ok := v.(int64); ok {
		return float64(n)
	}
	return v
}

// The fixtures of faults violate the schema unless their faults concern several keys or files.
func TestSchemaFindsFaults(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(spec.Schema("ranchd"), &schema); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"listeners", "values", "tables", "routes"} {
		b, err := os.ReadFile(filepath.Join("testdata/faults", name+".toml"))
		if err != nil {
			t.Fatal(err)
		}
		if validates(t, schema, string(b)) {
			t.Errorf("%s: got a valid file, want an invalid one", name)
		}
	}
	if !validates(t, schema, defaultFile()) {
		t.Error("default file: got an invalid file, want a valid one")
	}
}
