package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"

	"goranch/internal/settings"
	"goranch/ranch/admin"
)

// changesTo returns the differences between two configurations. Listeners in started have a
// listener that runs.
func changesTo(old, next *config, started map[string]*listenerConfig) (list []admin.Change) {
	add := func(listener, key, before, after string, e admin.Effect) {
		list = append(list, admin.Change{Listener: listener, Key: key, Before: before, After: after, Effect: e})
	}
	for _, k := range spec.Keys {
		before, after := k.Text(&old.process.flags), k.Text(&next.process.flags)
		if len(k.On) == 0 && k.Change != "listener" && before != after {
			add("", k.Name, before, after, effect(k, echoService))
		}
	}
	list = append(list, tableChanges(old, next)...)
	for _, l := range next.Listeners {
		if before := started[l.Name]; before != nil {
			list = append(list, before.changesTo(l)...)
		} else {
			add(l.Name, "", "", l.describe(), admin.Added)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(started)) {
		if !slices.ContainsFunc(next.Listeners, func(l *listenerConfig) bool { return l.Name == name }) {
			add(name, "", started[name].describe(), "", admin.Removed)
		}
	}
	return list
}

// describe returns protocol and address, without the name.
func (l *listenerConfig) describe() string {
	e := l.endpoint
	e.Name = ""
	return e.String()
}

// effect returns when a changed key of a listener takes effect.
func effect(k settings.Key, s service) admin.Effect {
	switch k.Change {
	case "now":
		return admin.Now
	case "resume":
		return admin.Resume
	case "protocol":
		if s == packetService {
			return admin.Now
		}
	}
	return admin.Restart
}

// changesTo returns the differences between two configurations of a listener.
func (l *listenerConfig) changesTo(next *listenerConfig) (list []admin.Change) {
	add := func(key, before, after string, e admin.Effect) {
		if before != after {
			list = append(list, admin.Change{Listener: l.Name, Key: key, Before: before, After: after, Effect: e})
		}
	}
	add("address", l.address(), next.address(), admin.Resume)
	add("protocol", l.Service.String(), next.Service.String(), admin.Now)
	if l.Service == next.Service {
		add("service", l.ServiceName, next.ServiceName, admin.Now)
	}
	for _, k := range allKeys {
		switch {
		case k.Change == "listener" || slices.Contains([]string{"address", "protocol", "service", "fallback"}, k.Name):
		case !appliesTo(k, l.Service) || !appliesTo(k, next.Service):
		case l.service() != next.service() && l.Service.own(k): // the options of another service
		default:
			add(k.Name, k.Text(&l.scope.flags), k.Text(&next.scope.flags), effect(k, next.Service))
		}
	}
	if l.service() == next.service() {
		list = append(list, l.routeChanges(next)...)
	}
	if next.Service.isOperators() && l.unix() && next.unix() {
		add("mode of the socket", mode(l.Access.unixMode()), mode(next.Access.unixMode()), admin.Resume)
	}
	return list
}

// address returns the address without name and protocol.
func (l *listenerConfig) address() string {
	e := l.endpoint
	e.Name, e.Service = "", echoService
	return e.String()
}

func mode(m fs.FileMode) string { return fmt.Sprintf("%#o", m) }

// tableChanges returns the differences of the tables of shared limits and networks.
func tableChanges(old, next *config) (list []admin.Change) {
	for _, l := range next.Limits {
		before := limitsKeys{}
		if i := slices.IndexFunc(old.Limits, func(o sharedLimits) bool { return o.Name == l.Name }); i >= 0 {
			before = old.Limits[i].keys
		}
		for _, k := range limitsTable {
			if a, b := k.Text(&before), k.Text(&l.keys); a != b && (before != limitsKeys{} || b != k.Default) {
				list = append(list, admin.Change{Key: limitsName + "." + l.Name + "." + k.Name, Before: a, After: b, Effect: admin.Now})
			}
		}
	}
	for _, r := range next.Networks {
		i := slices.IndexFunc(old.Networks, func(o networkRule) bool { return o.Prefix == r.Prefix })
		before := ""
		if i >= 0 {
			before = old.Networks[i].String()
		}
		if after := r.String(); before != after {
			list = append(list, admin.Change{Key: networkTable + " " + r.Prefix.String(), Before: before, After: after, Effect: admin.Now})
		}
	}
	for _, r := range old.Networks {
		if !slices.ContainsFunc(next.Networks, func(n networkRule) bool { return n.Prefix == r.Prefix }) {
			list = append(list, admin.Change{Key: networkTable + " " + r.Prefix.String(), Before: r.String(), Effect: admin.Now})
		}
	}
	for _, ch := range clusterChanges(old.Cluster, next.Cluster) {
		list = append(list, admin.Change{Key: clusterTable + "." + ch.key, Before: ch.before, After: ch.after, Effect: admin.Restart})
	}
	return list
}

// String returns the settings of a rule other than its prefix.
func (r networkRule) String() string {
	text := ""
	v := reflect.ValueOf(r)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Name != "Prefix" && !v.Field(i).IsZero() {
			text += fmt.Sprintf(" %s=%v", settings.FlagName(f.Name), v.Field(i).Interface())
		}
	}
	return cmp.Or(text, " no limits")[1:]
}

// keep replaces the settings that need a restart by those in force, so that the next reload reports
// them again.
func (c *config) keep(old *config, started map[string]*listenerConfig) {
	for _, k := range spec.Keys {
		if len(k.On) == 0 && k.Change != "listener" && effect(k, echoService) == admin.Restart {
			copyKey(k, &c.process.flags, &old.process.flags)
		}
	}
	c.StateDir, c.AccessLog, c.Cluster = old.StateDir, old.AccessLog, old.Cluster
	for _, l := range c.Listeners {
		before := started[l.Name]
		if before == nil {
			continue
		}
		for _, ch := range before.changesTo(l) {
			if k, ok := find(allKeys, ch.Key); ok && ch.Effect == admin.Restart {
				copyKey(k, &l.scope.flags, &before.scope.flags)
			}
		}
	}
}

func copyKey(k settings.Key, to, from *flags) {
	switch v := k.Get(from).(type) {
	case []string:
		k.Set(to, v)
	default:
		k.Set(to, []string{fmt.Sprint(v)})
	}
}
