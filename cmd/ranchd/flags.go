package main

// flags are the settings: those of the command line, which a configuration file can also have, and
// those that only files have. Values are text, which config parses, because kong would stop at the
// first fault.
//
// The tags describe each setting once, for the command line, files, their schema and
// docs/configuration.md: see package settings. The tag kind names a kind in kinds.go; on says which
// listeners have the setting, "listener" for all, or protocols; without it the setting is that of
// the process. The tag change says when a changed setting takes effect: now, at resume of the
// listener, after a restart (the default), or what its protocol says. A setting with kind "-" or
// env "-" is for the command line only.
type flags struct {
	Config string `kind:"-" short:"c" placeholder:"FILE" help:"Configuration file in TOML; ranchd config --default prints one with all keys and their defaults. Flags override it. It is read again on SIGHUP. Default: none."`

	Listen []string `kind:"-" sep:"none" placeholder:"ADDRESS" help:"Address to listen on, in a form described below; may be repeated, and one value may contain several, separated by spaces. Default: tcp://127.0.0.1:8007, tls://127.0.0.1:8008, shell+tcp://127.0.0.1:8080, topics+tcp://127.0.0.1:8081, packet+tcp://127.0.0.1:8082 and web+tcp://127.0.0.1:8083."`

	Admin string `change:"listener" placeholder:"ADDRESS" default:"auto" help:"Address of the operators' shell, to which ranchctl connects: an address without a protocol; none; or auto, which is the Unix socket ranchd.sock in $XDG_RUNTIME_DIR, or if that is not set /run/ranchd.sock for root and /tmp/ranchd-UID.sock for other users. Default: ${default}."`
	adminHTTPFlags

	Operator    []string `kind:"list" on:"shell,admin,admin-http" change:"now" example:"[\"group:ops\"]" sep:"," placeholder:"RULE" help:"Clients that may run commands that change something: users and groups of Unix sockets (alice, 1000, group:ops) and names in client certificates (cn:alice, dns:NAME, sha256:HASH, any). root and the user of ranchd are always operators."`
	Viewer      []string `kind:"list" on:"shell,admin,admin-http" change:"now" example:"[\"alice\", \"group:adm\"]" sep:"," placeholder:"RULE" help:"Clients that may only run commands that show something; rules as for --operator."`
	Tokens      string   `kind:"file" on:"shell,admin,admin-http" change:"now" example:"\"/etc/ranchd/tokens\"" placeholder:"FILE" help:"File with the hashed tokens of clients of the shells and the operators' HTTP server; ranchctl token creates its lines. It is reloaded when it changes."`
	PlainTokens bool     `kind:"bool" on:"shell,admin,admin-http" change:"now" default:"false" help:"Accept tokens on unencrypted connections from other hosts. Only for networks with their own encryption."`

	ShellRoot             string   `on:"shell" kind:"file" change:"restart" placeholder:"DIR" default:"." help:"Directory that the shell's commands ls and cd can access, or none. Default: the working directory of ranchd."`
	Program               []string `on:"shell" kind:"list" change:"restart" example:"[\"date=/bin/date -u\"]" sep:"none" placeholder:"NAME=PATH" help:"Program that clients of the shell may run: NAME=/path [ARG...], followed by * if clients may append arguments, which must not begin with -; may be repeated. Default: none."`
	SessionTTL            string   `on:"shell,admin,topics,web" kind:"time" change:"restart" name:"session-ttl" placeholder:"TIME" default:"10m" help:"How long a session of the shell or the topic server is kept after its connection has ended, or infinity. Default: ${default}."`
	MaxSessions           string   `on:"shell,topics,web" kind:"limit" change:"restart" placeholder:"N" default:"100000" help:"Maximum number of sessions of each service, or unlimited. Default: ${default}."`
	MaxSessionsPerAddress string   `on:"shell,topics,web" kind:"limit" change:"restart" placeholder:"N" default:"1000" help:"Maximum number of sessions without a connection that are kept for one source address (IPv6: one /64), or unlimited; beyond it the oldest is ended. These sessions may also take at most 4 MiB, unless the number is unlimited. Default: ${default}."`
	State                 string   `kind:"file" change:"restart" example:"\"/var/lib/ranchd\"" placeholder:"DIR" help:"Directory in which sessions are stored, so that they can be resumed after a restart. Default: $STATE_DIRECTORY, which systemd sets; if it is not set, sessions are kept in memory only."`
	SessionIDs            string   `on:"shell" kind:"ids" change:"restart" name:"session-ids" placeholder:"KIND" default:"random" help:"Session ids of the shell: random, or djb, a predictable hash of the client's address, for clients that expect it. Default: ${default}."`
	AllowPredictableIDs   bool     `on:"shell" kind:"bool" change:"restart" default:"false" name:"allow-predictable-ids" aliases:"accept-guessable-ids" env:"RANCHD_ALLOW_PREDICTABLE_IDS,RANCHD_ACCEPT_GUESSABLE_IDS" help:"Allow --session-ids djb on addresses that other hosts can reach."`

	AllowedOrigin []string `on:"web" kind:"list" change:"now" example:"[\"*.example.org\"]" sep:"," placeholder:"HOST" help:"Hosts whose pages may connect to web listeners in addition to pages of the listener itself: names or patterns such as *.example.org, with the port unless it is the default port, or * for all."`
	AllowedHost   []string `on:"web" kind:"list" change:"now" example:"[\"topics.example.org\"]" sep:"," placeholder:"HOST" help:"Values of the Host header that web listeners accept, in the same form. Default: all, but on loopback addresses only localhost, loopback addresses and the hosts of --allowed-origin. Behind a proxy on the same machine, give the names that the proxy passes on."`

	Upstream []string `on:"relay" kind:"list" change:"now" example:"[\"10.0.0.1:443\", \"10.0.0.2:443 weight=2 max=1000\"]" sep:"none" placeholder:"ADDRESS" help:"Server to which relay listeners forward connections: tcp://host:port, host:port, unix:/path, or with TLS tls://host:port and tls+unix:/path. weight=N may follow, the server's share of the connections relative to the others, and max=N, its maximum number of connections. May be repeated; either all or none have TLS."`

	Cert           []string `on:"listener" kind:"files" change:"now" example:"[\"site.pem\"]" file:"TLS certificates with their chains, PEM, as many as key. A client gets the certificate for its server name (SNI), otherwise the first. Certificate files are reloaded when they change. Default: a self-signed certificate in memory, for testing only." sep:"none" placeholder:"FILE" help:"TLS certificate with its chain, PEM; may be repeated, each with a --key. A client gets the certificate for its server name (SNI), otherwise the first. Certificate files are reloaded when they change. Default: a self-signed certificate in memory, for testing only."`
	Key            []string `on:"listener" kind:"files" change:"now" example:"[\"site.key\"]" file:"Files with the private keys of the certificates, PEM, in the same order. A key may be in the file of its certificate." sep:"none" placeholder:"FILE" help:"Private key of a certificate, PEM; as many as --cert, in the same order. It may be in the file of the certificate."`
	ClientCA       []string `on:"listener" kind:"files" change:"now" example:"[\"clients.pem\"]" file:"CA certificates that sign client certificates, PEM. They are reloaded when they change. Clients must then present a certificate. Default: no client certificates." name:"client-ca" sep:"none" placeholder:"FILE" help:"CA certificates that sign client certificates, PEM; may be repeated. They are reloaded when they change. Clients must then present a certificate. Default: no client certificates."`
	SNIUnknown     string   `on:"listener" kind:"sni" change:"now" name:"sni-unknown" placeholder:"ACTION" default:"default" help:"For a client whose server name (SNI) has no certificate: default (the first certificate is used) or refuse (the handshake fails). Default: ${default}."`
	ReloadInterval string   `kind:"time" change:"restart" placeholder:"TIME" default:"10s" help:"How often to check certificate, token and ban files for changes, or infinity to check them on SIGHUP only. Default: ${default}."`
	TLSMin         string   `on:"listener" kind:"tls" change:"now" name:"tls-min" placeholder:"VERSION" default:"1.2" help:"Minimum TLS version: 1.2 or 1.3. Default: ${default}."`

	MaxConnections string `on:"listener" kind:"limit" change:"now" example:"1024" placeholder:"N" help:"Maximum number of connections of each listener, or unlimited. Further connections wait in the kernel's accept queue; see --refuse-after. Default: 1024, and 20000 for topics."`
	Acceptors      string `on:"listener" kind:"acceptors" change:"resume" example:"10" placeholder:"N" help:"Goroutines of each listener that accept connections. Default: 10, or the number of listening sockets if that is higher."`
	ListenSockets  string `on:"listener" kind:"acceptors" change:"resume" placeholder:"N" default:"1" help:"Listening sockets per address, which accept in parallel (SO_REUSEPORT; Linux only, not for Unix and inherited sockets). Default: ${default}."`
	Backlog        string `on:"listener" kind:"number" change:"resume" placeholder:"N" default:"0" help:"Length of the kernel's accept queue. 0 is the system's maximum. Default: ${default}."`
	UnixMode       string `on:"listener" kind:"mode" change:"resume" example:"\"0660\"" placeholder:"MODE" help:"File mode of Unix sockets, octal, such as 0660. The operators' sockets always have 0600, or 0666 if --operator, --viewer or --tokens admit other users. Default: 0777 minus the umask."`

	HandshakeTimeout string `on:"listener" kind:"time" change:"now" placeholder:"TIME" default:"5s" help:"Time limit of the TLS handshake, including the PROXY header, or infinity. Default: ${default}."`
	SendTimeout      string `on:"listener" kind:"time" change:"resume" placeholder:"TIME" default:"30s" help:"How long a write may wait for a client that receives no data, or infinity. Then the connection is closed. Default: ${default}."`
	ShutdownTimeout  string `kind:"time0" change:"now" placeholder:"TIME" default:"5s" help:"How long connections may continue after the first signal to stop, or infinity. 0 closes them at once. Default: ${default}."`

	drainFlags
	accessLogFlags
	upgradeFlags

	ProxyFrom string `on:"echo,shell,topics,packet,web,relay" kind:"networks" change:"resume" example:"[\"10.0.0.0/8\", \"local\"]" placeholder:"NETWORK,..." help:"Proxies whose connections must begin with a PROXY header, version 1 or 2: networks such as 10.0.0.0/8, and local for Unix sockets. Connections from other peers that begin with a header are refused. Default: none; a header is then data for the protocol."`

	RefuseAfter      string `on:"listener" kind:"refuse" change:"now" placeholder:"TIME" default:"infinity" help:"How long a new connection waits for a slot at the maximum number of connections before it is refused. 0 refuses it at once; infinity leaves it in the kernel's accept queue. Default: ${default}."`
	MaxPerAddress    string `on:"listener" kind:"limit" change:"now" placeholder:"N" default:"unlimited" help:"Maximum number of connections of one source address (IPv6: one /64), or unlimited; others are refused. Default: ${default}."`
	AddressRate      string `on:"listener" kind:"rate" change:"now" placeholder:"N[:BURST]" default:"unlimited" help:"Maximum number of connections per second from one source address, or unlimited; others are refused. Default: ${default}."`
	AcceptRate       string `on:"listener" kind:"rate" change:"now" placeholder:"N[:BURST]" default:"unlimited" help:"Maximum number of connections per second that a listener accepts, or unlimited; others wait in the accept queue. Default: ${default}."`
	MaxHandshakes    string `on:"listener" kind:"limit" change:"now" placeholder:"N" default:"unlimited" help:"Maximum number of concurrent TLS handshakes of a listener, or unlimited; others wait. Default: ${default}."`
	LoginTimeout     string `on:"shell,admin,topics" kind:"time" change:"now" placeholder:"TIME" default:"infinity" help:"End connections that have not logged in within this time, or infinity. A client of a shell has logged in when its role is not guest; one of the topic server, when it has sent a request. Default: ${default}."`
	MaxUnestablished string `on:"shell,admin,topics" kind:"limit" change:"now" placeholder:"N" default:"unlimited" help:"Maximum number of connections of a listener that have not logged in, or unlimited; others are refused. Default: ${default}."`
	BanFile          string `kind:"file" change:"now" example:"\"/etc/ranchd/bans\"" placeholder:"FILE" help:"File with bans and other rules for client networks, one rule per line; docs/networks.md describes them. The rules do not apply to the operators' listeners. The file is reloaded when it changes."`
	IdleTimeout      string `on:"listener" kind:"time" change:"now" placeholder:"TIME" default:"infinity" help:"End connections without traffic for this long, or infinity. Default: ${default}."`
	Lifetime         string `on:"listener" kind:"time" change:"now" placeholder:"TIME" default:"infinity" help:"End connections at this age, or infinity. The age is shortened by up to a tenth at random. Default: ${default}."`
	AlarmShare       string `kind:"fraction" change:"now" name:"alarm-descriptors" placeholder:"FRACTION" default:"0.9" help:"Log a warning while more than this fraction of the process's descriptor limit is in use. 0 disables the warning. Default: ${default}."`

	LogLevel  string `kind:"level" change:"now" placeholder:"LEVEL" default:"info" help:"debug (every connection), info, warn or error. Default: ${default}."`
	LogFormat string `kind:"format" change:"restart" placeholder:"FORMAT" default:"auto" help:"text, color, json, or auto: color on a terminal unless NO_COLOR is set, otherwise text. Default: ${default}."`
	Console   bool   `kind:"-" env:"-" help:"Run the operators' shell on this terminal. ranchd stops when the shell ends."`
	Quiet     bool   `kind:"bool" change:"restart" default:"false" help:"Do not print the list of listeners."`

	Check   bool `kind:"-" env:"-" help:"Check flags and files without opening sockets, and exit with 0 if they are valid and 2 otherwise."`
	Version bool `kind:"-" env:"-" help:"Print the version and exit."`
	Help    bool `kind:"-" short:"h" help:"Print this help and exit."`

	fileKeys `kong:"-"`
}

const description = `Serves TCP protocols: echo; a command shell whose sessions can be resumed; a topic server (publish and subscribe) with the protocol of Janus; a packet server with JSON-RPC 2.0 in length-prefixed frames and chat rooms; and a relay to other servers. ranchctl shows and changes the state of a running ranchd. Without flags ranchd serves all of them except the relay, on loopback addresses.`

const helpTail = `
Addresses:
  tcp://host:port, host:port        TCP; the default host is 127.0.0.1
  tls://host:port                   TLS
  unix:/path, unix:@name            Unix socket; @name is abstract (Linux)
  systemd:NAME, fd:N                inherited socket: FileDescriptorName or index, or descriptor number
  tls+unix:, tls+systemd:, tls+fd:  the same with TLS
  Port 0 chooses a free port. 0.0.0.0 (IPv4) and [::] (IPv4 and IPv6) are all interfaces.

  The protocol is echo unless a prefix selects another, as in shell+tcp://host:port:
  shell+                            shell
  topics+                           topic server
  web+                              topic server for browsers: page, WebSockets and server-sent events
  packet+                           packet server
  relay+                            relay to the servers of --upstream

  NAME= in front of an address names the listener in logs and commands. The default name is
  made of protocol and transport, for example echo-tcp.

Flags except --check, --console, --help and --version can be set in the environment, for
example --tls-min as RANCHD_TLS_MIN. The command line takes precedence.

TIME is a duration such as 500ms, 5s or 2m. Where a flag allows it, infinity is no time limit,
and unlimited is no limit of a number or rate.

Commands:
  ranchd check FILE                 check a configuration file without opening sockets
  ranchd config --default           print a configuration file with all keys and their defaults
  ranchd config --schema            print the JSON schema of configuration files

Examples:
  ranchd
  ranchd -c /etc/ranchd/ranchd.toml
  ranchd --listen packet+tls://:8082 --listen packet+unix:/run/game.sock
  ranchd --listen relay+tcp://0.0.0.0:443 --upstream 10.0.0.1:443 --upstream 10.0.0.2:443
  ranchd --listen tcp://0.0.0.0:7 --max-connections unlimited
  ranchd --listen a=tcp://:7001 --listen b=unix:/run/b.sock --unix-mode 0660
  ranchd --listen tls://[::]:7443 --cert site.pem --key site.key --tls-min 1.3
  ranchd --listen tls://:7443 --cert a.pem --key a.key --cert b.pem --key b.key --sni-unknown refuse
  ranchd --listen tls://:7443 --cert site.pem --key site.key --client-ca clients.pem
  systemd-socket-activate -l 7001 --fdname=echo ranchd --listen systemd:echo
  RANCHD_LISTEN="tcp://:7001 tls://:7002" ranchd --log-format json --quiet

Signals:
  SIGTERM, SIGINT   stop accepting, and wait for connections to end, up to --shutdown-timeout;
                    a second signal exits at once
  SIGHUP            reload configuration, certificate, token and ban files, and reopen the
                    access log; if none of these is configured, like SIGTERM (Unix)
  SIGUSR1           log the state and counters of each listener (Unix)
  SIGUSR2           upgrade: start the new binary and hand over the listening sockets; see
                    docs/upgrade.md (Unix)

`
