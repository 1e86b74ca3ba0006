package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"goranch/internal/natsengine"
	"goranch/internal/nodes"
	"goranch/internal/settings"
)

// clusterKeys are the settings of the table [cluster].
type clusterKeys struct {
	Name   string   `kind:"text" example:"\"a\"" help:"Name of this node, unique in the cluster: letters, digits and . _ -. It is required."`
	Listen string   `kind:"text" example:"\"127.0.0.1:7600\"" help:"Address, host:port, on which the embedded NATS server accepts the connections of the other nodes. Default: none; the node is then the only one."`
	Peers  []string `kind:"list" example:"[\"127.0.0.1:7601\", \"127.0.0.1:7602\"]" help:"Addresses on which the other nodes listen, host:port. The list may contain this node's own address, so that it can be the same on all nodes. It is required with listen."`
	Secret string   `kind:"file" example:"\"/etc/ranchd/cluster.secret\"" help:"File with a secret of 16 to 1024 bytes, the same on all nodes. It authenticates the nodes but does not encrypt. Default: none, which is allowed on loopback addresses and with TLS."`
	Store  string   `kind:"file" example:"\"/var/lib/ranchd/cluster\"" help:"Directory of the embedded NATS server for topics and sessions. It is created if its parent exists. Default: cluster in the directory state."`

	Replicas     string `kind:"replicas" example:"3" help:"Number of nodes that store a copy of the topics and sessions. It takes effect when these are created. A majority of the copies must be up. Default: the number of nodes, up to 3; with url 1."`
	SyncInterval string `kind:"sync" default:"2m" help:"How often the embedded NATS server calls fsync, or always, before each acknowledgement."`

	URL         []string `name:"url" kind:"list" example:"[\"nats://10.0.0.1:4222\", \"nats://10.0.0.2:4222\"]" help:"External NATS servers with JetStream, instead of the embedded one: nats://host:port, or tls://host:port."`
	Credentials string   `kind:"file" example:"\"/etc/ranchd/nats.creds\"" help:"Credentials file for these NATS servers. Default: none."`

	Cert string `kind:"file" example:"\"/etc/ranchd/node.pem\"" help:"Certificate of this node, PEM, for TLS between the nodes, which identify each other by certificates that ca has signed; with url, for servers that require one. It is reloaded when it changes. Default: none."`
	Key  string `kind:"file" example:"\"/etc/ranchd/node.key\"" help:"Private key of the certificate, PEM. Default: the file of cert."`
	CA   string `name:"ca" kind:"file" example:"\"/etc/ranchd/nodes-ca.pem\"" help:"CA certificates that sign the certificates of the nodes, or of the servers of url, PEM. Default: none, and with url those of the system."`
}

// clusterConfig configures the cluster.
type clusterConfig struct {
	Engine   natsengine.Options // except Logger
	Nodes    int                // that are configured; 0 with NATS servers elsewhere
	Replicas int

	keys clusterKeys // as text
}

// needed returns how many nodes must be up.
func (c *clusterConfig) needed() int { return c.Nodes/2 + 1 }

// readCluster reads the table. state is the directory state.
func readCluster(all *faults, file string, s settings.Section, state string) *clusterConfig {
	c := &clusterConfig{}
	k := &c.keys
	all = setTable(all, file, clusterTable, s, k, clusterKeysTable)
	at := place{file, s.Line, clusterTable}
	missing := func(format string, args ...any) { all.put(all.at(at, fmt.Sprintf(format, args...))) }
	e := &c.Engine
	if k.Name == "" {
		missing("name is missing: every node has one of its own, such as name = \"a\"")
	} else if err := checkName(k.Name); err != nil {
		all.add("--%w", err)
	} else if !nodes.ValidName(k.Name) { // such as all, which is every node for --node
		all.add("--name %q: allowed are other names", k.Name)
	}
	e.Name, e.Store = k.Name, k.Store
	e.SyncInterval = read(all, "--sync-interval", k.SyncInterval, syncInterval)
	if len(k.URL) > 0 {
		c.readElsewhere(all, s)
	} else {
		c.readEmbedded(all, missing)
		if e.Store == "" && state == "" {
			missing("store is missing: the embedded NATS server needs a directory; give store, or state")
		}
		e.Store = cmp.Or(e.Store, filepath.Join(state, clusterTable))
	}
	c.Replicas = read(all, "--replicas", cmp.Or(k.Replicas, fmt.Sprint(min(max(c.Nodes, 1), 3))), number(1, 5))
	if c.Nodes > 0 && c.Replicas > c.Nodes {
		all.add("--replicas %d: allowed are the numbers up to that of the nodes, %d", c.Replicas, c.Nodes)
	}
	c.readTLS(all)
	return c
}

// readElsewhere reads the keys for external NATS servers.
func (c *clusterConfig) readElsewhere(all *faults, s settings.Section) {
	k := &c.keys
	for _, name := range []string{"listen", "peers", "secret", "store", "sync-interval"} {
		if _, given := s.Values[name]; given {
			all.add("--%s: allowed only without url: it is a setting of the embedded NATS server", name)
		}
	}
	secure := false
	for _, text := range k.URL {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Host == "" || u.Path != "" || strings.Contains(text, ","):
			all.add("--url %s: allowed are nats://host:port and tls://host:port", settings.Quote(text))
		case u.User != nil: // the value is not shown
			all.add("--url: allowed are addresses without a password: use credentials")
		default:
			secure = secure || u.Scheme == "tls"
			c.Engine.URLs = append(c.Engine.URLs, text)
		}
	}
	if secure {
		c.Engine.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if k.Credentials != "" {
		if _, err := os.ReadFile(k.Credentials); err != nil {
			all.add("--credentials %s: %w", settings.Quote(k.Credentials), err)
		}
		c.Engine.Credentials = k.Credentials
	}
}

// readEmbedded reads the keys of the embedded NATS server.
func (c *clusterConfig) readEmbedded(all *faults, missing func(string, ...any)) {
	k, e := &c.keys, &c.Engine
	c.Nodes = 1
	if !natsengine.Built {
		missing("url is missing: %v", natsengine.ErrNotBuilt)
	}
	if k.Credentials != "" {
		all.add("--credentials %s: allowed only with url", settings.Quote(k.Credentials))
	}
	before := all.count()
	if k.Listen != "" {
		e.Listen = read(all, "--listen", k.Listen, hostPort)
	}
	for _, p := range k.Peers {
		e.Peers = append(e.Peers, read(all, "--peers", p, peerAddress))
	}
	if k.Secret != "" {
		e.Secret = read(all, "--secret", k.Secret, readSecret)
	}
	switch {
	case all.count() > before:
		return
	case k.Listen == "" && len(k.Peers) > 0:
		missing("listen is missing: nodes with peers listen on an address, such as listen = \"127.0.0.1:7600\"")
		return
	case k.Listen == "":
		if k.Secret != "" || k.Cert != "" || k.Key != "" || k.CA != "" {
			missing("listen is missing: secret, cert, key and ca are for the connections between nodes")
		}
		return
	}
	others, err := natsengine.OtherPeers(e.Listen, e.Peers)
	if err != nil {
		all.add("--listen %s: %w", settings.Quote(k.Listen), err)
		return
	}
	if len(others) == 0 {
		missing("peers is missing: give the addresses of the other nodes; a node alone has no listen")
	}
	c.Nodes = len(others) + 1
	if !isLoopback(e.Listen) && k.Secret == "" && k.Cert == "" {
		all.add("--listen %s: other hosts can reach it: give secret, a file with the same content for all nodes, or cert and ca for TLS", settings.Quote(k.Listen))
	}
}

// readTLS reads the certificates.
func (c *clusterConfig) readTLS(all *faults) {
	k, e := &c.keys, &c.Engine
	if k.Cert == "" && k.Key != "" {
		all.add("--cert is missing: --key %s needs the file with its certificate", settings.Quote(k.Key))
		return
	}
	if k.Cert == "" && k.CA == "" {
		return
	}
	if len(e.URLs) == 0 && (k.Cert == "" || k.CA == "") {
		if k.Cert == "" {
			all.add("--ca %s: allowed only with cert: nodes identify each other by certificates", settings.Quote(k.CA))
		} else {
			all.add("--cert %s: allowed only with ca: nodes identify each other by certificates", settings.Quote(k.Cert))
		}
		return
	}
	tc, err := natsengine.TLS(k.Cert, cmp.Or(k.Key, k.Cert), k.CA)
	if err != nil {
		for _, fault := range faultsOf(err) {
			all.add("--%w", fault)
		}
		return
	}
	e.TLS = tc
}

// syncInterval reads a value of sync-interval.
func syncInterval(s string) (time.Duration, error) {
	if s == "always" {
		return -1, nil
	}
	if d, err := positive(s); err == nil && d != infinity {
		return d, nil
	}
	return 0, errors.New("allowed are durations such as 500ms, 5s or 2m, and always")
}

const hostPortForm = "allowed are addresses host:port with a port from 1 to 65535"

// hostPort reads the address of the embedded NATS server. Without a host it is loopback.
func hostPort(s string) (string, error) {
	e, err := parseEndpoint(s)
	if err != nil {
		return "", err
	}
	if strings.Contains(s, "://") || e.Name != "" || e.Service != echoService || e.Addr.Network != "tcp" || e.anyPort() {
		return "", errors.New(hostPortForm)
	}
	return e.Addr.Address, nil
}

// peerAddress reads the address of a peer.
func peerAddress(s string) (string, error) {
	a, err := hostPort(s)
	if err != nil {
		return "", err
	}
	host, _, _ := net.SplitHostPort(a)
	if ip, err := netip.ParseAddr(host); strings.HasPrefix(s, ":") || err == nil && ip.IsUnspecified() {
		return "", errors.New("allowed are addresses to connect to, host:port")
	}
	return a, nil
}

// Limits of a secret, in bytes.
const minSecret, maxSecret = 16, 1024

// readSecret reads the file with the secret. Spaces around it are not part of it.
func readSecret(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(b))
	if len(s) < minSecret || len(s) > maxSecret {
		return "", fmt.Errorf("the file contains %d bytes; allowed are %d to %d, such as those of: openssl rand -hex 32", len(s), minSecret, maxSecret)
	}
	return s, nil
}

// isLoopback reports whether only this host can reach an address. A host name may have any address.
func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// clusterChanges returns the differences of the tables, all of which need a restart.
func clusterChanges(old, next *clusterConfig) (list []keyChange) {
	var before, after clusterKeys
	if old != nil {
		before = old.keys
	}
	if next != nil {
		after = next.keys
	}
	for _, k := range clusterKeysTable {
		if a, b := k.Text(&before), k.Text(&after); a != b && !(a == "" && b == k.Default) && !(b == "" && a == k.Default) {
			list = append(list, keyChange{k.Name, a, b})
		}
	}
	return list
}

// keyChange is a changed key of a table.
type keyChange struct{ key, before, after string }
