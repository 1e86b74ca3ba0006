package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strings"

	"goranch/protocol/shell/client"
)

// style is what text is rendered for.
type style struct {
	width int  // columns of a line; 0 is no limit, and not a terminal
	color bool // escape sequences for colours are allowed
}

// render returns an answer as text, which ends with a line feed unless it is empty.
func (s style) render(a *client.Answer) string {
	if a.Result == nil {
		return ""
	}
	if text, ok := s.table(a); ok {
		return text
	}
	if text, ok := s.fields(a); ok {
		return text
	}
	var text string
	if json.Unmarshal(a.Result, &text) == nil {
		return s.lines(text)
	}
	var list []string
	if json.Unmarshal(a.Result, &list) == nil {
		return s.lines(strings.Join(list, "\n"))
	}
	return indent(a.Result)
}

// lines ends text with a line feed.
func (s style) lines(text string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if s.width > 0 { // a terminal
		text = string(harmless([]byte(text)))
	}
	return text
}

// fields renders names and values, one pair per line. It returns false if a has no fields.
func (s style) fields(a *client.Answer) (string, bool) {
	var values map[string]any
	if a.Fields == nil || decode(a.Result, &values) != nil {
		return "", false
	}
	widest := 0
	for _, f := range a.Fields {
		widest = max(widest, textWidth(visible(cmp.Or(f.Title, f.Key))))
	}
	var b strings.Builder
	for _, f := range a.Fields {
		title := visible(cmp.Or(f.Title, f.Key)) + ":"
		b.WriteString(s.bold(title) + strings.Repeat(" ", widest+2-textWidth(title)) + gap[1:] +
			visible(formatCell(values[f.Key], f.Kind)) + "\n")
	}
	return b.String(), true
}

// indent returns a JSON document with indentation.
func indent(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw) + "\n"
	}
	return b.String() + "\n"
}

func (s style) paint(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string { return s.paint("1", text) }
func (s style) dim(text string) string  { return s.paint("2", text) }
func (s style) red(text string) string  { return s.paint("31", text) }
func (s style) cyan(text string) string { return s.paint("36", text) }

// harmless escapes control characters in the output of a program, except for line feeds, tabs,
// carriage returns and sequences that set colours.
func harmless(p []byte) []byte {
	if !bytes.ContainsFunc(p, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || 0x7f <= r && r < 0xa0 }) {
		return p
	}
	var b strings.Builder
	for rest := string(p); rest != ""; {
		i := strings.IndexAny(rest, "\n\t\r\x1b")
		if i < 0 {
			i = len(rest)
		}
		b.WriteString(visible(rest[:i]))
		if rest = rest[i:]; rest == "" {
			break
		}
		n := 1
		if rest[0] == '\x1b' {
			n = colorSequence(rest)
		}
		if n > 0 {
			b.WriteString(rest[:n])
		} else {
			n = 1
			b.WriteString(`\x1b`)
		}
		rest = rest[n:]
	}
	return []byte(b.String())
}

// colorSequence returns the length of the escape sequence at the start of s if it only sets
// colours, else 0.
func colorSequence(s string) int {
	rest, ok := strings.CutPrefix(s, "\x1b[")
	if !ok {
		return 0
	}
	rest = strings.TrimLeft(rest, "0123456789;")
	if !strings.HasPrefix(rest, "m") {
		return 0
	}
	return len(s) - len(rest) + 1
}
