package settings

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Keys returns the keys of a struct: one for each exported field of the type string, []string or
// bool, also of embedded structs. The tags are
//
//	name     the name; without it MaxConns is max-conns
//	kind     the name in kinds; without it "text", "list" or "bool"; "-" is no key
//	default  the default
//	example  a value in the notation of TOML, for keys without a default
//	file     the help for files; without it that of "help" is used
//	help     the help of the flag
//	on       Key.On
//	top      "no" sets Key.TableOnly
//	change   Key.Change
//
// It panics if kinds has not the kind of a field.
func Keys(v any, kinds map[string]Kind) []Key {
	var all []Key
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		if f.Anonymous || !f.IsExported() || f.Tag.Get("kind") == "-" {
			continue
		}
		name := f.Tag.Get("kind")
		if name == "" {
			name = map[reflect.Kind]string{reflect.String: "text", reflect.Slice: "list", reflect.Bool: "bool"}[f.Type.Kind()]
		}
		kind, ok := kinds[name]
		if !ok {
			panic(fmt.Sprintf("settings: field %s: unknown kind %q", f.Name, name))
		}
		k := Key{
			Name: f.Tag.Get("name"), Kind: kind, Default: f.Tag.Get("default"), Example: f.Tag.Get("example"),
			TableOnly: f.Tag.Get("top") == "no", Change: f.Tag.Get("change"), index: f.Index,
		}
		if k.Name == "" {
			k.Name = FlagName(f.Name)
		}
		if on := f.Tag.Get("on"); on != "" {
			k.On = strings.Split(on, ",")
		}
		k.Help = f.Tag.Get("file")
		if k.Help == "" {
			k.Help = f.Tag.Get("help")
		}
		k.Help = strings.ReplaceAll(k.Help, "${default}", k.Default)
		all = append(all, k)
	}
	for i := range all {
		all[i].Help = withoutHyphens(all[i].Help, all)
	}
	return all
}

var flagName = regexp.MustCompile(`--[a-z][a-z0-9-]*`)

// withoutHyphens returns a help text in which the flags of keys are keys.
func withoutHyphens(help string, keys []Key) string {
	return flagName.ReplaceAllStringFunc(help, func(flag string) string {
		if _, ok := find(keys, flag[2:]); ok {
			return flag[2:]
		}
		return flag
	})
}

// FlagName returns the name of a field's key: max-connections for MaxConnections.
func FlagName(field string) string {
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// SetDefaults sets the fields of the struct to which v points to the defaults of keys. Fields whose
// keys have none are not changed.
func SetDefaults(v any, keys []Key) {
	for _, k := range keys {
		if k.Default != "" {
			k.Set(v, []string{k.Default})
		}
	}
}

// Set sets the field of the key in the struct to which v points. Items of a field that is one text
// are joined by commas.
func (k Key) Set(v any, items []string) {
	field := reflect.ValueOf(v).Elem().FieldByIndex(k.index)
	switch field.Kind() {
	case reflect.Slice:
		field.Set(reflect.ValueOf(slices.Clone(items)))
	case reflect.Bool:
		b, _ := strconv.ParseBool(strings.Join(items, ""))
		field.SetBool(b)
	default:
		field.SetString(strings.Join(items, ","))
	}
}

// Get returns the value of the key in the struct to which v points: a string, a []string or a bool.
func (k Key) Get(v any) any { return reflect.ValueOf(v).Elem().FieldByIndex(k.index).Interface() }

// Text returns the value of the key as one text; items of a list are separated by spaces.
func (k Key) Text(v any) string {
	switch x := k.Get(v).(type) {
	case []string:
		return strings.Join(x, " ")
	case bool:
		return strconv.FormatBool(x)
	default:
		return fmt.Sprint(x)
	}
}
