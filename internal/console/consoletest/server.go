// Package consoletest is a small shell that answers in JSON lines, for tests of clients.
package consoletest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

// Server is a shell with commands for tests:
//
//	status        names and values
//	connections   a table of three rows, of 120
//	echo WORDS    the words
//	stream        output in three parts, the last line without its end
//	top           frames, until cancelled
//	slow          nothing, until cancelled
//	drop          closes the connection instead of answering
//	fail, denied  errors
//	quit          closes
//
// Its zero value is ready.
type Server struct {
	Token   string // what auth: wants; "" is anything
	Forget  bool   // sessions do not outlive their connections
	Deaf    bool   // does not say who it is
	NotJSON bool   // knows no format

	mu       sync.Mutex
	conns    map[net.Conn]bool
	sessions map[string]bool
	received []string
	changed  chan struct{}
	wg       sync.WaitGroup
}

// Serve accepts until ln is closed.
func (s *Server) Serve(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		s.Go(nc)
	}
}

// Go serves a connection.
func (s *Server) Go(nc net.Conn) {
	s.mu.Lock()
	if s.conns == nil {
		s.conns, s.sessions = map[net.Conn]bool{}, map[string]bool{}
	}
	s.conns[nc] = true
	s.mu.Unlock()
	s.wg.Go(func() {
		s.handle(nc)
		s.mu.Lock()
		delete(s.conns, nc)
		s.mu.Unlock()
		nc.Close()
	})
}

// Drop closes all connections.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc := range s.conns {
		nc.Close()
	}
}

// Say sends a line to all connections.
func (s *Server) Say(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc := range s.conns {
		fmt.Fprintln(nc, line)
	}
}

// Close drops all connections, and returns when nothing runs any more.
func (s *Server) Close() {
	s.Drop()
	s.wg.Wait()
}

// Received returns all requests so far; Ctrl-C is "^C".
func (s *Server) Received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.received...)
}

// Wait returns when request n, from 1, is received.
func (s *Server) Wait(n int) {
	for {
		s.mu.Lock()
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed, got := s.changed, len(s.received)
		s.mu.Unlock()
		if got >= n {
			return
		}
		<-changed
	}
}

func (s *Server) note(request string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, request)
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// peer is one connection.
type peer struct {
	*Server
	nc     net.Conn
	id     int
	json   bool
	cancel chan struct{}
}

func (s *Server) handle(nc net.Conn) {
	s.mu.Lock()
	session := strconv.Itoa(1000 + len(s.sessions))
	s.sessions[session] = true
	s.mu.Unlock()
	if s.Deaf {
		fmt.Fprintln(nc, "220 mail.example.org ESMTP")
		return
	}
	fmt.Fprintln(nc, "Client identification "+session)
	p := &peer{Server: s, nc: nc, cancel: make(chan struct{}, 1)}
	lines := make(chan string, 64)
	s.wg.Go(func() { p.read(lines) })
	for line := range lines {
		p.id++
		if !p.request(line) {
			return
		}
	}
}

func (p *peer) read(lines chan<- string) {
	defer close(lines)
	var line []byte
	for r := bufio.NewReader(p.nc); ; {
		b, err := r.ReadByte()
		switch {
		case err != nil:
			return
		case b == 3:
			p.note("^C")
			select {
			case p.cancel <- struct{}{}:
			default:
			}
		case b == '\n':
			p.note(string(line))
			lines <- string(line)
			line = nil
		default:
			line = append(line, b)
		}
	}
}

// say sends an object with these keys, and the request's number.
func (p *peer) say(keys string) bool {
	_, err := fmt.Fprintf(p.nc, `{"id":%d,%s}`+"\n", p.id, keys)
	return err == nil
}

func (p *peer) result(v any) bool {
	b, _ := json.Marshal(v)
	return p.say(`"result":` + string(b))
}

func (p *peer) fail(message, suggestion, code string) bool {
	b, _ := json.Marshal(map[string]string{"message": message, "suggestion": suggestion, "code": code})
	return p.say(`"error":` + string(b))
}

// request answers one, and reports whether the connection goes on.
func (p *peer) request(line string) bool {
	name, value, _ := strings.Cut(line, ":")
	switch name {
	case "reconnect":
		p.mu.Lock()
		known := p.sessions[value] && !p.Forget
		p.mu.Unlock()
		if known && p.id <= 2 {
			p.json = true // as it was
			fmt.Fprintln(p.nc, "Conexao restabelecida")
		} else {
			fmt.Fprintln(p.nc, "error: no such session")
		}
		return true
	case "format":
		if p.NotJSON {
			fmt.Fprintln(p.nc, "error: unknown command format")
			return true
		}
		p.json = true
		return p.result(nil)
	case "auth":
		switch bad := p.Token != "" && p.Token != value; {
		case bad && !p.json:
			fmt.Fprintln(p.nc, "error: the token is not valid")
			return true
		case !p.json:
			fmt.Fprintln(p.nc, "you are ops")
			return true
		case bad:
			return p.fail("the token is not valid", "", "denied")
		}
		return p.result("you are ops")
	case "complete":
		return p.complete(value)
	}
	return p.command(line)
}

func (p *peer) complete(line string) bool {
	word := line[strings.LastIndexByte(line, ' ')+1:]
	found := []string{}
	for _, c := range []string{"connections", "drop", "echo", "slow", "stats", "status", "stream", "top"} {
		if strings.HasPrefix(c, word) {
			found = append(found, c)
		}
	}
	return p.result(found)
}

const (
	statusShape = `"result":{"uptime":63.4,"bytes":1258291,"name":"a server"},"fields":[{"key":"name","title":"Name"},{"key":"uptime","title":"Uptime","kind":"duration"},{"key":"bytes","title":"Sent","kind":"bytes"}]`
	tableShape  = `"result":[{"id":1,"peer":"10.0.0.1:4000","sent":1258291,"age":63.4},{"id":2,"peer":"[2001:db8::1]:50000","sent":512,"age":0.5},{"id":30,"peer":"unix","sent":0,"age":90061}],` +
		`"columns":[{"key":"id","title":"ID","right":true},{"key":"peer","title":"PEER","wide":true},{"key":"sent","title":"SENT","right":true,"kind":"bytes"},{"key":"age","title":"AGE","right":true,"kind":"duration"}],"total":120`
)

func (p *peer) command(line string) bool {
	name, rest, _ := strings.Cut(line, " ")
	switch name {
	case "status":
		return p.say(statusShape)
	case "connections":
		return p.say(tableShape)
	case "echo":
		return p.result(rest)
	case "stream":
		return p.say(`"out":"one\n"`) && p.say(`"out64":"dHdvCg=="`) && p.say(`"out":"three"`) && p.result(nil)
	case "slow":
		<-p.cancel
		return p.fail("cancelled", "", "cancelled")
	case "top":
		for n := range 2 {
			p.say(fmt.Sprintf(`"frame":true,"result":[{"n":%d}],"columns":[{"key":"n","title":"FRAME","right":true}]`, n+1))
		}
		<-p.cancel
		return p.result(nil)
	case "once": // frames that end by themselves
		p.say(`"frame":true,"result":[{"n":1}],"columns":[{"key":"n","title":"FRAME"}]`)
		p.say(`"frame":true,"result":[{"n":2}],"columns":[{"key":"n","title":"FRAME"}]`)
		return p.result(nil)
	case "fail":
		return p.fail("it is broken", "", "")
	case "denied":
		return p.fail("not allowed: denied is for operators", "", "denied")
	case "drop":
		return false
	case "quit":
		p.result("bye")
		return false
	}
	return p.fail("unknown command "+name, "status", "unknown")
}
