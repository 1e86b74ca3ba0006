package settings

import (
	"encoding/json"
	"fmt"
	"strings"
)

// width is that of comments in a sample.
const width = 96

// Comment returns text as comment lines.
func Comment(text string) string {
	var b strings.Builder
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width && line != "#" {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

// Sample returns the keys with their help and their defaults, as a part of a file. Keys without a
// default are comments.
func Sample(keys []Key) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteString("\n" + Comment(k.Help))
		if k.Default != "" {
			fmt.Fprintf(&b, "%s = %s\n", k.Name, k.Notation(k.Default))
		} else {
			fmt.Fprintf(&b, "# %s = %s\n", k.Name, k.Example)
		}
	}
	return b.String()
}

// Notation returns the text of a value in the notation of TOML.
func (k Key) Notation(text string) string {
	k.Default = text
	if s, ok := k.defaultValue().(string); ok {
		b, err := json.Marshal(s) // strings of JSON are basic strings of TOML
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	return text
}
