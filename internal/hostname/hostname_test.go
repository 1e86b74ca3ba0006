package hostname_test

import (
	"strings"
	"testing"

	"goranch/internal/hostname"
)

func TestAppend(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Join([]string{label, label, label, label[:61]}, ".")
	for _, tt := range []struct {
		name, host, want string // want: "" if it is not valid
	}{
		{"lower case", "example.com", "example.com"},
		{"upper case", "WWW.Example.COM", "www.example.com"},
		{"one label", "localhost", "localhost"},
		{"digits, hyphen, underscore", "_a-1.2b.x--y", "_a-1.2b.x--y"},
		{"longest", longest, longest},
		{"too long", longest + "a", ""},
		{"longest label", label, label},
		{"long label", label + "a.com", ""},
		{"nothing", "", ""},
		{"only a dot", ".", ""},
		{"dot at the end", "example.com.", ""},
		{"dot at the beginning", ".example.com", ""},
		{"two dots", "a..b", ""},
		{"hyphen at the beginning", "a.-b", ""},
		{"IPv6", "::1", ""},
		{"NUL", "a\x00b", ""},
		{"space", "a b", ""},
		{"wildcard", "*.example.com", ""},
		{"not ASCII", "bücher.example", ""},
		{"not UTF-8", "\xff.example", ""},
	} {
		b, ok := hostname.Append(nil, tt.host)
		if ok != (tt.want != "") || ok && string(b) != tt.want {
			t.Errorf("%s: got %q, %t, want %q", tt.name, b, ok, tt.want)
		}
		if _, same := hostname.Append(nil, []byte(tt.host)); same != ok {
			t.Errorf("%s: got %t for a slice, %t for a string", tt.name, same, ok)
		}
	}
}
