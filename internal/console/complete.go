package console

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// Keys which the line editor leaves to others.
const (
	keyTab    = '\t'
	keySearch = 0x12 // Ctrl-R
)

// completionTime is how long somebody who has pressed Tab waits.
const completionTime = 2 * time.Second

// key handles keys that the line editor does not.
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

// search brings the newest line of the history that contains what has been typed, and
// with each further Ctrl-R the one before.
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
	if secret(before) {
		return line, pos, true
	}
	ctx, cancel := context.WithTimeout(c.ctx, completionTime)
	defer cancel()
	a, err := c.client.do(ctx, "complete:"+before, false) // a command of before the connection may run, and go on
	var candidates []string
	if err != nil || json.Unmarshal(a.Result, &candidates) != nil || len(candidates) == 0 {
		return line, pos, true
	}
	begin := lastWord(before)
	word := commonPrefix(candidates)
	switch {
	case len(candidates) == 1:
		if !strings.HasSuffix(word, "/") && !strings.HasSuffix(word, "=") && !strings.HasSuffix(word, ":") {
			word += " "
		}
	case !strings.HasPrefix(word, before[begin:]) || len(word) == pos-begin: // there is nothing to add
		c.list(candidates)
		return line, pos, true
	}
	word = visible(word)
	return line[:begin] + word + line[pos:], begin + len(word), true
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

// lastWord returns where the last word of a line begins. Blanks between quotes, or after
// a backslash, end no word.
func lastWord(s string) int {
	begin, in := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case in == 0 && (b == ' ' || b == '\t'):
			begin = i + 1
		case in == 0 && (b == '\'' || b == '"'):
			in = b
		case b == in:
			in = 0
		case b == '\\' && in != '\'':
			i++
		}
	}
	return min(begin, len(s))
}
