package shell

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// builtins are the commands of every shell.
func (s *Shell) builtins() []Command {
	return slices.Concat(s.sessionCommands(), s.fileCommands(), []Command{
		{Name: "help", Usage: "[<command>]", Help: "List all commands, or explain one.", MaxArgs: 1, Quick: true, Run: s.help, Complete: s.completeCommand},
		{Name: "version", Help: "Show the version of the server.", Quick: true, Run: s.version, builtin: true},
		{Name: "auth", Usage: "<token>", Help: "Authenticate with a token.", Raw: true, Run: s.auth, secret: true},
		{Name: "complete", Usage: "<line>", Help: "List the completions of the last word of a line.", Role: Viewer, Raw: true, Run: s.complete, secret: true},
		{Name: "status", Help: "Show the status of the shell.", Role: Viewer, Run: s.status, builtin: true},
		{Name: "connections", Help: "List the shell's connections.", Role: Viewer, Run: s.connections, builtin: true},
		{Name: "stats", Help: "Show counters since the start of the shell.", Role: Viewer, Run: s.stats, builtin: true},
	})
}

func (s *Shell) help(_ context.Context, c *Call) error {
	if len(c.Args) == 1 {
		cmd := s.registry.find(c.Args[0])
		if cmd == nil || cmd.Role > c.User.Role {
			return s.unknownCommand(c.Args[0], c.User.Role)
		}
		c.Return(cmd.manual())
		return nil
	}
	t := Table{Columns: []Column{{Key: "command", Title: "COMMAND"}, {Key: "help", Title: "HELP"}, {Key: "role", Title: "ROLE", Wide: true}}}
	commands := s.registry.list()
	t.Rows = make([][]any, 0, len(commands))
	for _, cmd := range commands {
		if cmd.Role <= c.User.Role {
			first, _, _ := strings.Cut(cmd.Help, "\n")
			t.Rows = append(t.Rows, []any{cmd.usage(), first, cmd.Role.String()})
		}
	}
	c.Return(t)
	return nil
}

// manual returns the text of "help <command>".
func (c *Command) manual() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n", c.usage(), c.Help)
	if len(c.Flags) > 0 {
		b.WriteByte('\n')
	}
	for _, f := range c.Flags {
		help := f.Help
		if f.Choices != nil {
			help += " (" + strings.Join(f.Choices, ", ") + ")"
		}
		fmt.Fprintf(&b, "  %-20s %s\n", strings.TrimRight("--"+f.Name+" "+f.Value, " "), help)
	}
	if len(c.Aliases) > 0 {
		fmt.Fprintf(&b, "\nAliases: %s\n", strings.Join(c.Aliases, ", "))
	}
	if c.Role > Guest {
		fmt.Fprintf(&b, "\nRequired role: %s\n", c.Role)
	}
	return b.String()
}

func (s *Shell) version(_ context.Context, c *Call) error {
	c.Return(s.opts.Version)
	return nil
}

// auth replaces the user of the connection.
func (s *Shell) auth(ctx context.Context, c *Call) error {
	if s.opts.Token == nil {
		return denied("this server accepts no tokens")
	}
	user, err := s.opts.Token(ctx, c.req.c.peer.Conn(), strings.TrimSpace(c.Value))
	if err != nil {
		return denied("%v", err)
	}
	c.req.c.login(user)
	c.Session.Role = max(c.Session.Role, user.Role)
	c.Return(fmt.Sprintf("%s, %s", user.Name, user.Role))
	return nil
}

// complete returns the completions of the last word of a line.
func (s *Shell) complete(ctx context.Context, c *Call) error {
	all := s.candidates(ctx, c, c.Value)
	last := c.Value[lastWord(c.Value):]
	all = slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, last) })
	slices.Sort(all)
	all = slices.Compact(all)
	if all == nil {
		all = []string{}
	}
	c.Return(all)
	return nil
}

// candidates returns the possible last words of a line, not filtered by the part already typed.
func (s *Shell) candidates(ctx context.Context, c *Call, text string) []string {
	start := lastWord(text)
	args, err := words(text[:start])
	if err != nil {
		return nil
	}
	if len(args) == 0 {
		return s.completeCommand(ctx, c, nil)
	}
	cmd := s.registry.find(args[0])
	if cmd == nil || cmd.Role > c.User.Role {
		return nil
	}
	last := text[start:]
	if len(args) > 1 {
		if f := cmd.flag(strings.TrimPrefix(args[len(args)-1], "--")); f != nil && f.Value != "" && strings.HasPrefix(args[len(args)-1], "--") {
			return f.values(ctx, c)
		}
	}
	var all []string
	if strings.HasPrefix(last, "-") {
		for _, f := range cmd.Flags {
			all = append(all, "--"+f.Name)
		}
		return all
	}
	if cmd.Complete == nil {
		return nil
	}
	word, _ := words(last)
	args = append(args[1:], strings.Join(word, " "))
	for _, candidate := range cmd.Complete(ctx, c, args) {
		all = append(all, quote(candidate))
	}
	return all
}

// values returns the completions of the value of a flag.
func (f *Flag) values(ctx context.Context, c *Call) []string {
	if f.Choices != nil || f.Complete == nil {
		return f.Choices
	}
	var all []string
	for _, v := range f.Complete(ctx, c) {
		all = append(all, quote(v))
	}
	return all
}

func (s *Shell) completeCommand(_ context.Context, c *Call, args []string) []string {
	if len(args) > 1 {
		return nil
	}
	var all []string
	for _, cmd := range s.registry.list() {
		if cmd.Role <= c.User.Role {
			all = append(all, cmd.Name)
		}
	}
	return all
}

func (s *Shell) status(_ context.Context, c *Call) error {
	s.mu.Lock()
	conns := len(s.conns)
	s.mu.Unlock()
	stats := s.sessions.Stats()
	c.Return(Fields{
		{"status", "Status", "running"},
		{"version", "Version", s.opts.Version},
		{"uptime", "Uptime", time.Since(s.started)},
		{"connections", "Connections", conns},
		{"sessions", "Sessions", stats.Attached + stats.Detached},
		{"goroutines", "Goroutines", runtime.NumGoroutine()},
	})
	return nil
}

func (s *Shell) stats(_ context.Context, c *Call) error {
	stats := s.sessions.Stats()
	c.Return(Fields{
		{"requests", "Requests", s.requests.Load()},
		{"failures", "Requests failed", s.failures.Load()},
		{"sessions_attached", "Sessions attached", stats.Attached},
		{"sessions_detached", "Sessions detached", stats.Detached},
		{"sessions_created", "Sessions created", stats.Created},
		{"sessions_resumed", "Sessions resumed", stats.Resumed},
		{"sessions_taken_over", "Sessions taken over", stats.TakenOver},
		{"sessions_expired", "Sessions expired", stats.Expired},
		{"sessions_ended", "Sessions ended", stats.Ended},
		{"sessions_refused", "Attempts refused", stats.Refused},
		{"output_dropped", "Output dropped", Bytes(stats.OutputDropped)},
		{"store_errors", "Store errors", stats.StoreErrors},
	})
	return nil
}

// connections lists the shell's connections, without session ids, which are secrets.
func (s *Shell) connections(_ context.Context, c *Call) error {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for conn := range s.conns {
		conns = append(conns, conn)
	}
	s.mu.Unlock()
	slices.SortFunc(conns, func(a, b *conn) int { return cmp.Compare(a.peer.Conn().ID(), b.peer.Conn().ID()) })
	t := Table{Columns: []Column{
		{Key: "id", Title: "ID", Right: true}, {Key: "remote", Title: "REMOTE"}, {Key: "user", Title: "USER"}, {Key: "role", Title: "ROLE"},
		{Key: "age", Title: "AGE", Right: true}, {Key: "read", Title: "READ", Right: true, Wide: true}, {Key: "written", Title: "WRITTEN", Right: true, Wide: true},
	}}
	for _, sc := range conns {
		conn, user, stats := sc.peer.Conn(), sc.user.Load(), sc.peer.Conn().Stats()
		t.Rows = append(t.Rows, []any{conn.ID(), conn.RemoteAddr().String(), user.Name, user.Role.String(),
			time.Since(sc.started), Bytes(stats.BytesRead), Bytes(stats.BytesWritten)})
	}
	c.Return(t)
	return nil
}
