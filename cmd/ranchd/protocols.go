package main

import (
	"fmt"
	"math"
	"time"

	"goranch/internal/settings"
)

// topicsConfig configures a topic server, except for its sessions.
type topicsConfig struct {
	MaxFrame, MaxSubscriptions, MaxTopics, PublishRate, History int
	TotalBytes, AddressBytes                                    int
	Heartbeat, Retain                                           time.Duration
}

func (f *flags) topicsConfig(all *faults) topicsConfig {
	return topicsConfig{
		MaxFrame:         read(all, "--max-frame", f.MaxFrame, number(256, math.MaxInt32)),
		MaxSubscriptions: read(all, "--max-subscriptions", f.MaxSubscriptions, number(1, math.MaxInt32)),
		MaxTopics:        read(all, "--max-topics", f.MaxTopics, number(1, math.MaxInt32)),
		TotalBytes:       read(all, "--total-bytes", f.TotalBytes, maxSessions),
		AddressBytes:     read(all, "--address-bytes", f.AddressBytes, orDefault(maxSessions)),
		PublishRate:      read(all, "--publish-rate", f.PublishRate, maxSessions),
		History:          orNone(read(all, "--history", f.History, number(0, math.MaxInt32))),
		Heartbeat:        orNoTimeout(read(all, "--heartbeat", f.Heartbeat, positive)),
		Retain:           read(all, "--retain", f.Retain, positive),
	}
}

// packetConfig configures a packet server.
type packetConfig struct {
	MaxFrame, BytesPerSecond, FramesPerSecond, MaxBatch int
}

func (f *flags) packetConfig(all *faults) packetConfig {
	return packetConfig{
		MaxFrame:        read(all, "--max-frame", f.MaxFrame, number(256, math.MaxInt32)),
		BytesPerSecond:  read(all, "--bytes-per-second", f.BytesPerSecond, maxSessions),
		FramesPerSecond: read(all, "--frames-per-second", f.FramesPerSecond, maxSessions),
		MaxBatch:        read(all, "--max-batch", f.MaxBatch, number(1, math.MaxInt32)),
	}
}

// state returns the service whose state a service uses: web has that of topics.
func (s service) state() service {
	if s == webService {
		return topicsService
	}
	return s
}

// defaultService returns the name of the service of a listener that names none. Relays have
// upstreams of their own.
func (l *listenerConfig) defaultService() string {
	if l.Service == relayService {
		return l.Name
	}
	return l.Service.state().String()
}

// own reports whether a key configures the service itself, and not only the listener or the
// gateway of browsers in front of it.
func (s service) own(k settings.Key) bool {
	for _, on := range k.On {
		if on == "listener" || on == webService.String() && len(k.On) == 1 {
			return false
		}
	}
	return !k.TableOnly && k.Name != "proxy-from" && appliesTo(k, s)
}

// checkServices reports listeners that share a service and differ in its options.
func (c *config) checkServices(all *faults) {
	first := map[serviceKey]*listenerConfig{}
	for _, l := range c.Listeners {
		key := l.service()
		if l.Service == echoService || l.Service.isOperators() {
			continue
		}
		other := first[key]
		if other == nil {
			first[key] = l
			continue
		}
		if !l.sameRoutes(other) {
			all.put(all.at(*l.scope.table, fmt.Sprintf("%s: listener %s has others, and shares the service %q with this one; give them the same routes, or this one a service of its own: service = NAME",
				routeTable, other.Name, key.name)))
		}
		all := all.in(l.scope.places)
		for _, k := range allKeys {
			got, want := k.Text(&l.scope.flags), k.Text(&other.scope.flags)
			if !l.Service.own(k) || !other.Service.own(k) || got == want {
				continue
			}
			p, ok := l.scope.places[k.Name]
			if !ok {
				p = *l.scope.table
			}
			all.put(all.at(p, fmt.Sprintf("%s %s: listener %s has %s, and shares the service %q with this one; give them the same value, or this one a service of its own: service = NAME",
				k.Name, settings.Quote(got), other.Name, settings.Quote(want), key.name)))
		}
	}
}

// serviceKey names a service that listeners share.
type serviceKey struct {
	protocol service
	name     string
}

func (l *listenerConfig) service() serviceKey {
	switch l.Service {
	case echoService:
		return serviceKey{}
	case adminService, adminHTTPService:
		return serviceKey{l.Service, l.Name}
	}
	return serviceKey{l.Service.state(), l.ServiceName}
}

// hasLogin reports whether the protocol of the service ends the login phase of its connections.
func (s service) hasLogin() bool { return s == shellService || s == adminService || s == topicsService }
