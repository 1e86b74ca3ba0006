package main

// flags are the settings: those of the command line, which a configuration file can also have, and
// those that only files have. Values are text, which config parses, because kong would stop at the
// first fault.
//
// The tags describe each setting once, for the command line, files, their schema and
// docs/configuration.md: see package settings. The tag kind names a kind in kinds.go; on says which
// listeners have the setting, "listener" for all, or protocols; without it the setting is that of
// the process. The tag change says when a changed setting takes effect: now, at resume of the
// listener, after a restart (the default), or what its protocol says. A setting with kind "-" or env
// "-" is for the command line only.
type flags struct {
	Config string `kind:"-" short:"c" placeholder:"FILE" help:"Configuration file in TOML; ranchd config --default prints one with all keys and their defaults. Flags override it. It is read again at SIGHUP. Default: none."`

	Listen []string `kind:"-" sep:"none" placeholder:"ADDRESS" help:"Address to listen on, in a form described below; may be repeated, and one value may contain several, separated by spaces. Default: tcp://127.0.0.1:8007, tls://127.0.0.1:8008, shell+tcp://127.0.0.1:8080, topics+tcp://127.0.0.1:8081, packet+tcp://127.0.0.1:8082 and web+tcp://127.0.0.1:8083."`

	Admin string `change:"listener" placeholder:"ADDRESS" default:"auto" help:"Address of the operators' shell, to which ranchctl connects: an address without a protocol, none, or auto, a Unix socket: ranchd.sock in XDG_RUNTIME_DIR; without it /run/ranchd.sock for root and ranchd-UID.sock in the temporary directory for others. Default: ${default}."`
	adminHTTPFlags

	Operator    []string `kind:"list" on:"shell,admin,admin-http" change:"now" example:"[\"group:ops\"]" sep:"," placeholder:"RULE" help:"Clients that may run commands that change something: users and groups of Unix sockets (alice, 1000, group:ops) and names in client certificates (cn:alice, dns:NAME, sha256:HASH, any). root and the user of ranchd are always operators."`
	Viewer      []string `kind:"list" on:"shell,admin,admin-http" change:"now" example:"[\"alice\", \"group:adm\"]" sep:"," placeholder:"RULE" help:"Clients that may only run commands that show something; rules as for --operator."`
	Tokens      string   `kind:"file" on:"shell,admin,admin-http" change:"now" example:"\"/etc/ranchd/tokens\"" placeholder:"FILE" help:"File with hashed tokens of the shells' clients; see ranchctl token --help. It is reloaded when it changes."`
	PlainTokens bool     `kind:"bool" on:"shell,admin,admin-http" change:"now" default:"false" help:"Accept tokens on unencrypted connections from other hosts. Only for networks with their own encryption."`

	ShellRoot             string   `on:"shell" kind:"file" change:"restart" placeholder:"DIR" default:"." help:"Directory that ls and cd of the shell can access, or none. Default: the working directory of ranchd."`
	Program               []string `on:"shell" kind:"list" change:"restart" example:"[\"date=/bin/date -u\"]" sep:"none" placeholder:"NAME=PATH" help:"Program that clients of the shell may run: NAME=/path [ARG...], followed by * if clients may append arguments, which must not begin with -; may be repeated. Default: none."`
	SessionTTL            string   `on:"shell,admin,topics,web" kind:"time" change:"restart" name:"session-ttl" placeholder:"TIME" default:"10m" help:"How long a session of the shell or the topic server is kept after its connection has ended, or infinity. Default: ${default}."`
	MaxSessions           string   `on:"shell,topics,web" kind:"limit" change:"restart" placeholder:"N" default:"100000" help:"Maximum number of sessions of each service, or unlimited. Default: ${default}."`
	MaxSessionsPerAddress string   `on:"shell,topics,web" kind:"limit" change:"restart" placeholder:"N" default:"1000" help:"Maximum number of sessions without a connection that are kept for one source address (IPv6: one /64); beyond it the oldest ends. Together they may also take at most 4 MiB; unlimited removes both limits. Default: ${default}."`
	State                 string   `kind:"file" change:"restart" example:"\"/var/lib/ranchd\"" placeholder:"DIR" help:"Directory for sessions that survive a restart. Default: STATE_DIRECTORY, which systemd sets; without it, sessions are kept in memory only."`
	SessionIDs            string   `on:"shell" kind:"ids" change:"restart" name:"session-ids" placeholder:"KIND" default:"random" help:"Session ids of the shell: random, or djb, a predictable hash of the client's address, for clients that expect it. Default: ${default}."`
	AllowPredictableIDs   bool     `on:"shell" kind:"bool" change:"restart" default:"false" name:"allow-predictable-ids" aliases:"accept-guessable-ids" env:"RANCHD_ALLOW_PREDICTABLE_IDS,RANCHD_ACCEPT_GUESSABLE_IDS" help:"Allow --session-ids djb on addresses that other hosts can reach."`

	AllowedOrigin []string `on:"web" kind:"list" change:"now" example:"[\"*.example.org\"]" sep:"," placeholder:"HOST,..." help:"Hosts whose pages may connect to web listeners in addition to pages of the listener itself: names or patterns such as *.example.org, with the port unless it is the default one, or * for all."`
	AllowedHost   []string `on:"web" kind:"list" change:"now" example:"[\"topics.example.org\"]" sep:"," placeholder:"HOST,..." help:"Hosts that requests to web listeners may name, in the same form. Default: all, but on loopback addresses only localhost, loopback addresses and --allowed-origin; behind a proxy on the same machine, give the names that it passes on."`

	Upstream []string `on:"relay" kind:"list" change:"now" example:"[\"10.0.0.1:443\", \"10.0.0.2:443 weight=2 max=1000\"]" sep:"none" placeholder:"ADDRESS" help:"Server to which relay listeners forward connections: tcp://host:port, host:port, unix:/path, or with TLS tls://host:port and tls+unix:/path; the same for all. weight=N may follow, the share of connections, and max=N, the maximum number of connections; may be repeated."`

	Cert           []string `on:"listener" kind:"files" change:"now" example:"[\"site.pem\"]" file:"TLS certificates with their chains, PEM, as many as key. A client gets the certificate for its server name (SNI), otherwise the first. Certificate files are reloaded when they change. Default: a self-signed certificate in memory, for testing only." sep:"none" placeholder:"FILE" help:"TLS certificate with its chain, PEM; may be repeated, each with a --key. A client gets the certificate for its server name (SNI), otherwise the first. Certificate files are reloaded when they change. Default: a self-signed certificate in memory, for testing only."`
	Key            []string `on:"listener" kind:"files" change:"now" example:"[\"site.key\"]" file:"Files with the private keys of the certificates, PEM, in the same order. A key may be in the file of its certificate." sep:"none" placeholder:"FILE" help:"Private key of a certificate, PEM; as many as --cert, in the same order. It may be in the same file."`
	ClientCA       []string `on:"listener" kind:"files" change:"now" example:"[\"clients.pem\"]" file:"CA certificates that sign client certificates, PEM; reloaded too. Clients must then present a certificate. Default: no client certificates." name:"client-ca" sep:"none" placeholder:"FILE" help:"CA certificates that sign client certificates, PEM; may be repeated, and reloaded too. Clients must then present a certificate. Default: no client certificates."`
	SNIUnknown     string   `on:"listener" kind:"sni" change:"now" name:"sni-unknown" placeholder:"ACTION" default:"default" help:"For a server name without a certificate: default (use the first certificate) or refuse. Default: ${default}."`
	ReloadInterval string   `kind:"time" change:"restart" placeholder:"TIME" default:"10s" help:"How often to check certificate, token and ban files for changes; infinity checks them at SIGHUP only. Default: ${default}."`
	TLSMin         string   `on:"listener" kind:"tls" change:"now" name:"tls-min" placeholder:"VERSION" default:"1.2" help:"Minimum TLS version: 1.2 or 1.3. Default: ${default}."`

	MaxConnections string `on:"listener" kind:"limit" change:"now" example:"1024" placeholder:"N" help:"Maximum number of connections of each listener, or unlimited. Further clients wait in the kernel's accept queue. Default: 1024, and 20000 for topics."`
	Acceptors      string `on:"listener" kind:"acceptors" change:"resume" example:"10" placeholder:"N" help:"Goroutines of each listener that accept connections. Default: 10, or the number of listening sockets if that is higher."`
	ListenSockets  string `on:"listener" kind:"acceptors" change:"resume" placeholder:"N" default:"1" help:"Listening sockets per address, which accept in parallel (SO_REUSEPORT; Linux only, not for Unix and inherited sockets). Default: ${default}."`
	Backlog        string `on:"listener" kind:"number" change:"resume" placeholder:"N" default:"0" help:"Length of the kernel's accept queue. 0 is the maximum of the system. Default: ${default}."`
	UnixMode       string `on:"listener" kind:"mode" change:"resume" example:"\"0660\"" placeholder:"MODE" help:"File mode of Unix sockets, octal, such as 0660. Default: by the umask."`

	HandshakeTimeout string `on:"listener" kind:"time" change:"now" placeholder:"TIME" default:"5s" help:"Time limit of the TLS handshake, including the PROXY header, or infinity. Default: ${default}."`
	SendTimeout      string `on:"listener" kind:"time" change:"resume" placeholder:"TIME" default:"30s" help:"How long a client may accept no data while a write is pending, or infinity. Default: ${default}."`
	ShutdownTimeout  string `kind:"time0" change:"now" placeholder:"TIME" default:"5s" help:"How long connections may continue after the first signal to stop. 0 closes them at once, infinity waits for them. Default: ${default}."`

	drainFlags
	accessLogFlags
	upgradeFlags

	ProxyFrom string `on:"echo,shell,topics,packet,web,relay" kind:"networks" change:"resume" example:"[\"10.0.0.0/8\", \"local\"]" placeholder:"NETWORK,..." help:"Proxies whose connections must begin with a PROXY header, version 1 or 2: networks such as 10.0.0.0/8, and local for Unix sockets. Headers from other peers are refused. Default: none, and headers are payload."`

	RefuseAfter      string `on:"listener" kind:"refuse" change:"now" placeholder:"TIME" default:"never" help:"At the maximum number of connections: never leaves clients in the accept queue, 0 refuses them at once, a duration refuses them after it. Default: ${default}."`
	MaxPerAddress    string `on:"listener" kind:"limit" change:"now" placeholder:"N" default:"unlimited" help:"Maximum number of connections of one source address (IPv6: one /64). Default: ${default}."`
	AddressRate      string `on:"listener" kind:"rate" change:"now" placeholder:"N[:BURST]" default:"unlimited" help:"Connections per second from one source address; others are refused. Default: ${default}."`
	AcceptRate       string `on:"listener" kind:"rate" change:"now" placeholder:"N[:BURST]" default:"unlimited" help:"Connections per second that a listener accepts; others wait in the accept queue. Default: ${default}."`
	MaxHandshakes    string `on:"listener" kind:"limit" change:"now" placeholder:"N" default:"unlimited" help:"Concurrent TLS handshakes of a listener; others wait. Default: ${default}."`
	LoginTimeout     string `on:"shell,admin,topics" kind:"time" change:"now" placeholder:"TIME" default:"infinity" help:"End connections that have not logged in for this long: to a shell, clients with a role other than guest have logged in; to the topic server, those that have sent a request. Default: ${default}."`
	MaxUnestablished string `on:"shell,admin,topics" kind:"limit" change:"now" placeholder:"N" default:"unlimited" help:"Maximum number of connections of a listener that have not logged in; others are refused. Default: ${default}."`
	BanFile          string `kind:"file" change:"now" example:"\"/etc/ranchd/bans\"" placeholder:"FILE" help:"File with bans and other rules for networks of clients: networks or addresses, one a line, and what applies to them; see docs/networks.md. They do not apply to the listeners of operators. It is reloaded when it changes."`
	IdleTimeout      string `on:"listener" kind:"time" change:"now" placeholder:"TIME" default:"infinity" help:"End connections without traffic for this long. Default: ${default}."`
	Lifetime         string `on:"listener" kind:"time" change:"now" placeholder:"TIME" default:"infinity" help:"End connections at this age, shortened by up to a tenth at random. Default: ${default}."`
	AlarmShare       string `kind:"fraction" change:"now" name:"alarm-descriptors" placeholder:"FRACTION" default:"0.9" help:"Log a warning while more than this fraction of the descriptors of the process is open; 0 is never. Default: ${default}."`

	LogLevel  string `kind:"level" change:"now" placeholder:"LEVEL" default:"info" help:"debug (every connection), info, warn or error. Default: ${default}."`
	LogFormat string `kind:"format" change:"restart" placeholder:"FORMAT" default:"auto" help:"text, color, json, or auto: color on a terminal unless NO_COLOR is set, otherwise text. Default: ${default}."`
	Console   bool   `kind:"-" env:"-" help:"Run the operators' shell on this terminal. ranchd stops when the shell is quit."`
	Quiet     bool   `kind:"bool" change:"restart" default:"false" help:"Do not print the list of listeners."`

	Check   bool `kind:"-" env:"-" help:"Check flags and files without opening sockets, and exit with 0 or 2."`
	Version bool `kind:"-" env:"-" help:"Print the version and exit."`
	Help    bool `kind:"-" short:"h" help:"Print this help and exit."`

	fileKeys `kong:"-"`
}

const description = `Serves TCP protocols: echo; a shell with sessions that survive their connections; a topic server with the protocol of Janus; a packet server with JSON-RPC 2.0 in length-prefixed frames and chat rooms; and a relay to other servers. ranchctl shows its state and changes it while it runs. Without flags it serves all of them on loopback.`

const helpTail = `
Addresses:
  tcp://host:port, host:port        TCP; the default host is 127.0.0.1
  tls://host:port                   TLS
  unix:/path, unix:@name            Unix socket; @name is abstract (Linux)
  systemd:NAME, fd:N                inherited socket, by FileDescriptorName or index, or by descriptor
  tls+unix:, tls+systemd:, tls+fd:  the same with TLS
  Port 0 chooses a free port. 0.0.0.0 (IPv4) and [::] (IPv4 and IPv6) are all interfaces.

  The protocol is echo unless a prefix selects another, as in shell+tcp://host:port:
  shell+                            shell
  topics+                           topic server
  web+                              page, WebSockets and server-sent events for browsers, same topics
  packet+                           packet server
  relay+                            forwards connections to the servers of --upstream

  NAME= in front of an address names the listener in logs and commands. The default name is
  made of protocol and transport, for example echo-tcp.

Flags except --check, --console, --help and --version can be set in the environment, for
example --tls-min as RANCHD_TLS_MIN. The command line has precedence.

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
  SIGTERM, SIGINT   stop accepting, and wait for connections up to --shutdown-timeout;
                    a second signal exits at once
  SIGHUP            reload configuration, certificate, token and ban files, and reopen the
                    access log; without any of these, like SIGTERM (Unix)
  SIGUSR1           log the state and counters of each listener (Unix)
  SIGUSR2           upgrade: start ranchd again and hand over the listening sockets; see
                    docs/upgrade.md (Unix)

`
