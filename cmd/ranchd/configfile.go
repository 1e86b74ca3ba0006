package main

import (
	"fmt"
	"slices"
	"strings"

	"goranch/internal/console"
	"goranch/internal/reload"
	"goranch/internal/settings"
)

// maxConfigFile is larger than any configuration, and limits the memory that a wrong file can use.
const maxConfigFile = 4 << 20

// readFile reads the configuration file. nil is none, or one that is not TOML.
func (c *config) readFile(all *faults) *settings.Document {
	if c.File == "" {
		return nil
	}
	data, err := reload.ReadFile(c.File, maxConfigFile, nil)
	if err != nil {
		all.put(fmt.Errorf("--config %s: %w", settings.Quote(c.File), err))
		return nil
	}
	doc, err := spec.Parse(c.File, data)
	if err != nil {
		for _, fault := range faultsOf(err) {
			all.put(fault)
		}
	}
	if doc != nil {
		c.process.set(c.File, doc.Top, "", c.given)
	}
	return doc
}

// listenerScopes returns the settings of each listener: those of --listen, of the file, or the
// defaults.
func (c *config) listenerScopes(all *faults, doc *settings.Document) (list []*scope) {
	given, isDefault := defaultListen, true
	if c.command.Listen != nil {
		given, isDefault = c.listenValues(all), false
	} else if doc != nil && doc.Tables[listenerTable] != nil {
		for _, section := range doc.Tables[listenerTable] {
			list = append(list, c.listenerScope(doc.File, section))
		}
		return list
	}
	for _, address := range given {
		s := c.process.clone()
		s.Address, s.Fallback = address, isDefault
		list = append(list, s)
	}
	return list
}

// listenValues returns the addresses of --listen.
func (c *config) listenValues(all *faults) (list []string) {
	for _, v := range c.command.Listen {
		words := strings.Fields(v)
		if len(words) == 0 {
			all.add("--listen %q: empty address, as in an empty RANCHD_LISTEN; %s", v, listenForms)
		}
		list = append(list, words...)
	}
	return list
}

// listenerScope returns the settings of a table of the file.
func (c *config) listenerScope(file string, section settings.Section) *scope {
	s := c.process.clone()
	table := listenerTable
	for _, key := range []string{"address", "name"} {
		if v, ok := section.Values[key]; ok {
			table = listenerTable + " " + settings.Shown(strings.Join(v.Items, ""))
		}
	}
	s.set(file, section, table, c.given)
	s.table, s.routes = &place{file, section.Line, table}, section.Tables[routeTable]
	return s
}

// addListener reads the address of a listener and adds it.
func (c *config) addListener(all *faults, s *scope) {
	all = all.in(s.places)
	if s.table != nil && s.Address == "" {
		all.put(all.at(*s.table, "address is missing: every listener has one, such as tcp://127.0.0.1:7001"))
		return
	}
	before := all.count()
	e := read(all, "--listen", s.Address, parseEndpoint)
	valid := all.count() == before
	if s.table != nil {
		e = s.readNames(all, e, valid)
	}
	if !valid {
		return
	}
	if s.Fallback && e.Addr.Network != "tcp" {
		all.add("--fallback true: allowed with addresses of the form host:port; %s has no ports", e)
	}
	c.checkAddress(all, s.Address, e)
	e.Default = s.Fallback
	c.Listeners = append(c.Listeners, &listenerConfig{endpoint: e, scope: s})
}

// readNames reads the name and the protocol of a table, which an address in a file cannot have.
// valid says whether the address is.
func (s *scope) readNames(all *faults, e endpoint, valid bool) endpoint {
	if e.Name != "" {
		all.add("--listen %q: the name has a key of its own: name = %q", s.Address, e.Name)
	}
	if e.Service != echoService {
		all.add("--listen %q: the protocol has a key of its own: protocol = %q", s.Address, e.Service)
	}
	if e.Name = s.Name; e.Name != "" {
		if err := checkName(e.Name); err != nil {
			all.add("--%w", err)
		}
	}
	services := map[string]service{"": echoService, "admin": adminService, "admin-http": adminHTTPService, "echo": echoService}
	for _, p := range prefixes {
		services[string(p)] = p
	}
	before := all.count()
	e.Service = read(all, "--protocol", s.Protocol, oneOf(kinds["protocol"].Allowed, services))
	if valid && all.count() == before {
		s.checkKeys(all, e)
	}
	return e
}

// checkKeys reports keys in the table that a listener with that protocol and address has not.
func (s *scope) checkKeys(all *faults, e endpoint) {
	for name, p := range s.places {
		if k, ok := find(allKeys, name); ok && p.table != "" && !appliesTo(k, e.Service) {
			all.put(all.at(p, fmt.Sprintf("%s: listeners of protocol %s have no such key; allowed for %s", name, e.Service, protocolsOf(k))))
		}
		if slices.Contains(tlsKeys, name) && p.table != "" && !e.TLS {
			all.put(all.at(p, fmt.Sprintf("%s: the address %s does not use TLS; use tls://host:port, tls+unix:/path, tls+fd:N or tls+systemd:NAME", name, settings.Quote(s.Address))))
		}
	}
	if p, ok := s.places["unix-mode"]; ok && p.table != "" && !e.unix() {
		all.put(all.at(p, fmt.Sprintf("unix-mode: the address %s is not a Unix socket", settings.Quote(s.Address))))
	}
	s.checkRouted(all, e)
}

// tlsKeys are the keys that concern TLS only.
var tlsKeys = []string{"cert", "key", "client-ca", "sni-unknown", "tls-min"}

// checkAddress reports a name and an address that another listener has.
func (c *config) checkAddress(all *faults, given string, e endpoint) {
	for _, other := range c.Listeners {
		first := other.scope.Address
		if e.Name != "" && e.Name == other.Name {
			all.add("--listen %q: name %s is used by %q; names must differ", given, e.Name, first)
		}
		switch {
		// Several sockets of systemd can have the same name.
		case e.Addr == other.Addr && !e.anyPort() && e.Addr.Network != "systemd":
			all.add("--listen %q: the address is used by %q; addresses must differ", given, first)
		case e.Addr != other.Addr && e.overlaps(other.endpoint):
			all.add("--listen %q: %s includes its address; use another port", given, other.endpoint)
		}
	}
}

// addAdmin adds the listener of the operators' shell of --admin.
func (c *config) addAdmin(all *faults) {
	c.addOperators(all, adminService, c.process.Admin, console.AdminSocket())
}

// addAdminHTTP adds the listener of the operators' HTTP server of --admin-http.
func (c *config) addAdminHTTP(all *faults) {
	c.addOperators(all, adminHTTPService, c.process.AdminHTTP, defaultAdminHTTP)
}

// addOperators adds a listener for operators, whose flag has the name of the service. The address
// "auto" is the default, which another can replace.
func (c *config) addOperators(all *faults, service service, address, auto string) {
	s := c.process.clone()
	all = all.in(s.places)
	isDefault := address == "auto"
	switch address {
	case "none":
		return
	case "auto":
		address = auto
	}
	before := all.count()
	e := read(all, "--"+service.String(), address, parseEndpoint)
	if all.count() > before {
		return
	}
	if e.Service != echoService {
		all.add("--%s %q: allowed are addresses without a protocol", service, address)
	}
	e.Service, e.Default = service, isDefault
	if e.Name == "" {
		e.Name = service.String()
	}
	for _, other := range c.Listeners {
		if all.count() == before && other.Name == e.Name {
			all.add("--%s %q: name %s is used by %q; names must differ", service, address, e.Name, other.scope.Address)
		}
	}
	s.Address = address
	c.Listeners = append(c.Listeners, &listenerConfig{endpoint: e, scope: s})
}

// nameListeners names the listeners without a name.
func (c *config) nameListeners() {
	endpoints := make([]endpoint, len(c.Listeners))
	for i, l := range c.Listeners {
		endpoints[i] = l.endpoint
	}
	nameEndpoints(endpoints)
	for i, l := range c.Listeners {
		l.endpoint = endpoints[i]
	}
}

// addresses returns the addresses of all listeners but that of --admin, as one text.
func (c *config) addresses() string {
	var list []string
	for _, l := range c.Listeners {
		if !l.Service.isOperators() {
			list = append(list, l.endpoint.String())
		}
	}
	return strings.Join(list, " ")
}
