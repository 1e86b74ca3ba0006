package console

import (
	"context"
	"errors"
	"strings"

	"goranch/protocol/shell"
)

// command runs a line, and returns true if it was the last one.
func (c *console) command(line string) (last bool) {
	line = strings.TrimSpace(line)
	name, value, _ := strings.Cut(strings.ReplaceAll(line, ":", " "), " ")
	switch name {
	case "":
		return false
	case "quit", "exit":
		return true
	case "format": // the connection always uses JSON
		c.format(strings.TrimSpace(value))
		return false
	case "auth":
		if value == "" {
			token, err := c.term.ReadPassword("token: ")
			if err != nil || token == "" {
				return false
			}
			line = "auth:" + token
		}
	}
	c.call(line)
	return false
}

// call runs a command of the server and shows its answer.
func (c *console) call(line string) {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	c.setRunning(cancel)
	answer, err := c.client.Call(ctx, line)
	c.setRunning(nil)
	framed := c.screen.EndFrames()
	var failure *shell.Error
	switch {
	case errors.As(err, &failure) && failure.Code == shell.CodeCancelled && framed:
	case errors.Is(err, context.Canceled):
		c.screen.Notice("not waiting for the answer any longer")
	case err != nil:
		c.screen.Error(err)
	case answer.Result != nil:
		c.screen.Answer(answer)
	default:
		c.screen.EndLine()
	}
}

func (c *console) format(name string) {
	switch name {
	case "json", "text":
		c.screen.setJSON(name == "json")
	default:
		c.screen.Error(errors.New("format " + visible(name) + ": allowed are text and json"))
	}
}
