package console

import (
	"context"
	"strings"
	"time"
)

// Keys that the line editor passes to its callback.
const (
	keyTab    = '\t'
	keySearch = 0x12 // Ctrl-R
)

// completionTimeout limits how long Tab waits for the server.
const completionTimeout = 2 * time.Second

// key handles the keys that the line editor does not handle.
func (c *console) key(line string, pos int, key rune) (newLine string, newPos int, ok bool) {
	if key != keySearch {
		c.searched = -1
	}
	switch key {
	case keyTab:
		return c.complete(line, pos)
	case keySearch:
		return c.search(line)
	}
	return "", 0, false
}

// search finds the newest line of the history that contains what has been typed, and with each
// further Ctrl-R the one before.
func (c *console) search(line string) (string, int, bool) {
	if c.searched < 0 {
		c.wanted = line
	}
	i := c.history.find(c.wanted, c.searched)
	if i < 0 {
		return line, len(line), true
	}
	c.searched = i
	found := c.history.At(i)
	return found, len(found), true
}

// complete asks the server what the word before the cursor could become.
func (c *console) complete(line string, pos int) (string, int, bool) {
	before := line[:pos]
	if isSecret(before) {
		return line, pos, true
	}
	ctx, cancel := context.WithTimeout(c.ctx, completionTimeout)
	defer cancel()
	candidates, err := c.client.Complete(ctx, before)
	if err != nil || len(candidates) == 0 {
		return line, pos, true
	}
	start := lastWord(before)
	word := commonPrefix(candidates)
	switch {
	case len(candidates) == 1:
		if !strings.HasSuffix(word, "/") && !strings.HasSuffix(word, "=") && !strings.HasSuffix(word, ":") {
			word += " "
		}
	case !strings.HasPrefix(word, before[start:]) || len(word) == pos-start: // there is nothing to add
		c.list(candidates)
		return line, pos, true
	}
	word = visible(word)
	return line[:start] + word + line[pos:], start + len(word), true
}

// list shows candidates above the prompt.
func (c *console) list(candidates []string) {
	width, _ := c.opts.Size()
	c.term.Write([]byte(columnsOf(candidates, width)))
}

// columnsOf arranges words, downwards, in as many columns as fit.
func columnsOf(words []string, width int) string {
	widest := 0
	for _, w := range words {
		widest = max(widest, textWidth(visible(w))+len(gap))
	}
	across := max(1, width/max(1, widest))
	down := (len(words) + across - 1) / across
	var b strings.Builder
	for y := range down {
		var line strings.Builder
		for i := y; i < len(words); i += down {
			line.WriteString(pad(visible(words[i]), widest, false))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

func commonPrefix(words []string) string {
	prefix := []rune(words[0])
	for _, w := range words[1:] {
		n := 0
		for _, r := range w {
			if n == len(prefix) || prefix[n] != r {
				break
			}
			n++
		}
		prefix = prefix[:n]
	}
	return string(prefix)
}

// lastWord returns the index of the last word of a line. Blanks between quotes, or after a
// backslash, do not separate words.
func lastWord(s string) int {
	start, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case quote == 0 && (b == ' ' || b == '\t'):
			start = i + 1
		case quote == 0 && (b == '\'' || b == '"'):
			quote = b
		case b == quote:
			quote = 0
		case b == '\\' && quote != '\'':
			i++
		}
	}
	return min(start, len(s))
}
