package main

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"

	"goranch/protocol/shell"
)

// flags is the command line as it was typed. Values are text here: config reads them,
// and reports every fault at once, where kong would stop at the first.
type flags struct {
	Listen []string `sep:"none" placeholder:"[NAME=]ADDRESS" help:"Where to listen; may be repeated. tcp://host:port (or just host:port), tls://host:port, unix:/path, unix:@name (Linux), tls+unix:/path. Sockets handed over open: systemd:NAME of socket activation (or its index), fd:N by descriptor, and tls+systemd:, tls+fd:. What is served is echo, or with shell+, topics+, web+ or packet+ before all that (shell+tcp://host:port) the shell, the topic server, a page and WebSockets for browsers to the same topics, or the packet server. Port 0 is any free one. Without a host it is loopback: 0.0.0.0 (IPv4) and [::] (IPv4 and IPv6) are every interface. One value may hold several, separated by spaces. Default: tcp://127.0.0.1:8007, tls://127.0.0.1:8008, shell+tcp://127.0.0.1:8080, topics+tcp://127.0.0.1:8081, packet+tcp://127.0.0.1:8082 and web+tcp://127.0.0.1:8083."`

	Admin       string   `placeholder:"ADDRESS" default:"auto" help:"Where operators find their shell, by ranchctl: an address as above, auto (a Unix socket in XDG_RUNTIME_DIR, for root /run/ranchd.sock) or none. Default: ${default}."`
	Operator    []string `sep:"," placeholder:"WHO,..." help:"Who may change things: users and groups on Unix sockets (alice, 1000, group:ops), what client certificates say (cn:alice, dns:NAME, sha256:HASH, any). root and the user of ranchd may, anyway."`
	Viewer      []string `sep:"," placeholder:"WHO,..." help:"Who may look only, likewise."`
	Tokens      string   `placeholder:"FILE" help:"Tokens that clients of the shells may present, hashed; see ranchctl token --help. Read anew when it changes."`
	PlainTokens bool     `help:"Accept tokens from other machines without TLS, where a network is encrypted below."`

	ShellRoot          string   `placeholder:"DIR" default:"." help:"Directory in which the shell's clients can look around with ls and cd; none is not at all. Default: where ranchd was started."`
	Program            []string `sep:"none" placeholder:"NAME=PATH" help:"Program that the shell's clients may run, NAME=/path [ARG...], with * at the end if they may add arguments which do not begin with -; may be repeated. Default: none."`
	SessionTTL         string   `name:"session-ttl" placeholder:"TIME" default:"10m" help:"How long sessions of shell and topics are kept whose connection has gone, or infinity. Default: ${default}."`
	MaxSessions        string   `placeholder:"N" default:"100000" help:"Sessions of each at once, or unlimited. Default: ${default}."`
	State              string   `placeholder:"DIR" help:"Directory in which sessions outlast a restart, such as STATE_DIRECTORY of systemd, which is the default. Without either they are kept in memory."`
	SessionIDs         string   `name:"session-ids" placeholder:"HOW" default:"random" help:"How the shell makes ids of sessions: random, or djb, a hash of the client's address that anybody can guess, for clients which expect it. Default: ${default}."`
	AcceptGuessableIDs bool     `name:"accept-guessable-ids" help:"Accept --session-ids djb where other machines can connect."`

	AllowedOrigin []string `sep:"," placeholder:"HOST,..." help:"Hosts whose pages may connect to web listeners besides their own, with port unless it is the default one; they may be patterns, such as *.example.org; * is every host."`
	AllowedHost   []string `sep:"," placeholder:"HOST,..." help:"Hosts by which clients may name web listeners, in the same form. Default: every host, but on loopback addresses only localhost and loopback addresses: behind a proxy on the same machine, give the names that it passes on."`

	Cert           []string `sep:"none" placeholder:"FILE" help:"Certificate for TLS, PEM, with its chain; may be repeated, each with its --key: clients get the one for the host they name (SNI), others the first. The files are read anew when they change. Without it one is made in memory, self-signed, for trying out only."`
	Key            []string `sep:"none" placeholder:"FILE" help:"Key of a certificate, PEM; as many as --cert, in the same order. It may be the same file."`
	ClientCA       []string `name:"client-ca" sep:"none" placeholder:"FILE" help:"Who may sign clients' certificates, PEM, read anew as well; may be repeated. With it clients need a certificate. Default: clients need none."`
	SNIUnknown     string   `name:"sni-unknown" placeholder:"WHAT" default:"default" help:"What a client gets that names a host no certificate is good for: default (the first certificate) or refuse. Default: ${default}."`
	ReloadInterval string   `placeholder:"TIME" default:"10s" help:"How often to look whether these files have changed, or infinity: at SIGHUP only. Default: ${default}."`
	TLSMin         string   `name:"tls-min" placeholder:"VERSION" default:"1.2" help:"Oldest TLS version: 1.2 or 1.3. Default: ${default}."`

	MaxConnections string `placeholder:"N" help:"Connections that each listener serves at once, or unlimited. Others wait in the kernel's queue. Default: 1024, and 20000 for topics, which are for many."`
	Acceptors      string `placeholder:"N" help:"Goroutines that accept, per listener. Default: 10, or one for each listening socket if those are more."`
	ListenSockets  string `placeholder:"N" default:"1" help:"Sockets per listener, which share the port and make accepting parallel (Linux; not with Unix and inherited sockets). Default: ${default}."`
	Backlog        string `placeholder:"N" default:"0" help:"Connections that the kernel holds ready for accept. 0 is the system's maximum. Default: ${default}."`
	UnixMode       string `placeholder:"MODE" help:"Permission of Unix sockets' files, octal, such as 0660. Default: what the umask leaves."`

	HandshakeTimeout string `placeholder:"TIME" default:"5s" help:"Time for a TLS handshake, or infinity. Default: ${default}."`
	SendTimeout      string `placeholder:"TIME" default:"30s" help:"How long a client may take nothing of what is sent to it, or infinity. Default: ${default}."`
	ShutdownTimeout  string `placeholder:"TIME" default:"5s" help:"The drain limit: how long connections may go on after the first signal to stop. 0 closes them at once, infinity waits for them. Default: ${default}."`

	ProxyFrom string `placeholder:"NETWORK,..." help:"Proxies whose connections must begin with a PROXY header, version 1 or 2, that says who the client is: networks such as 10.0.0.0/8, and local for Unix sockets. A header from anybody else is refused. Default: nobody, and headers are payload."`

	RefuseAfter   string `placeholder:"TIME" default:"never" help:"At the cap: never lets clients wait in the kernel's queue, 0 refuses them at once, a time those for whom there is no room after it. Default: ${default}."`
	MaxPerAddress string `placeholder:"N" default:"unlimited" help:"Connections that one source address may have (IPv6: one /64). Default: ${default}."`
	AddressRate   string `placeholder:"N[:BURST]" default:"unlimited" help:"Connections per second that one source address may open; what exceeds it is refused. Default: ${default}."`
	AcceptRate    string `placeholder:"N[:BURST]" default:"unlimited" help:"Connections per second that a listener accepts; others wait. Default: ${default}."`
	MaxHandshakes string `placeholder:"N" default:"unlimited" help:"TLS handshakes in progress at once, per listener; others wait. Default: ${default}."`
	IdleTimeout   string `placeholder:"TIME" default:"infinity" help:"End connections on which nothing was carried for that long. Default: ${default}."`
	Lifetime      string `placeholder:"TIME" default:"infinity" help:"End connections of that age, less up to a tenth at random. Default: ${default}."`
	AlarmShare    string `name:"alarm-descriptors" placeholder:"SHARE" default:"0.9" help:"Warn while more than this share of the process' descriptors is open; 0 never. Default: ${default}."`

	LogLevel  string `placeholder:"LEVEL" default:"info" help:"debug (every connection), info, warn or error. Default: ${default}."`
	LogFormat string `placeholder:"FORMAT" default:"auto" help:"text, color, json, or auto: color on a terminal unless NO_COLOR is set, else text. Default: ${default}."`
	Console   bool   `env:"-" help:"Be the operators' shell as well, here on this terminal. Leaving it ends ranchd."`
	Quiet     bool   `help:"Do not print what is served and how to try it."`

	Check   bool `env:"-" help:"Check flags and files, open nothing, and exit with 0 or 2."`
	Version bool `env:"-" help:"Print which build this is."`
	Help    bool `short:"h" help:"Print this."`
}

const description = `Serves echo, where whatever a client sends comes back; a shell whose sessions outlive their connections; topics to publish and subscribe to, in the protocol of Janus; and the packet server: JSON-RPC 2.0 in frames of 4 bytes length, with rooms to talk in. Operators look inside and change things with ranchctl. Without flags it listens on loopback, and says how to try it.`

const helpTail = `
NAME is how logs call a listener; one is made up where none is given. Every flag but the
last three can be set in the environment, --tls-min as RANCHD_TLS_MIN and so on; the
command line goes before it.

Examples:
  ranchd
  ranchd --listen packet+tls://:8082 --listen packet+unix:/run/game.sock
  ranchd --listen tcp://0.0.0.0:7 --max-connections unlimited
  ranchd --listen a=tcp://:7001 --listen b=unix:/run/b.sock --unix-mode 0660
  ranchd --listen tls://[::]:7443 --cert site.pem --key site.key --tls-min 1.3
  ranchd --listen tls://:7443 --cert a.pem --key a.key --cert b.pem --key b.key --sni-unknown refuse
  ranchd --listen tls://:7443 --cert site.pem --key site.key --client-ca clients.pem
  systemd-socket-activate -l 7001 --fdname=echo ranchd --listen systemd:echo
  RANCHD_LISTEN="tcp://:7001 tls://:7002" ranchd --log-format json --quiet

Signals:
  SIGTERM, SIGINT   stop accepting, let connections finish, up to --shutdown-timeout;
                    a second one ends at once
  SIGHUP            read certificate files anew; without any, as SIGTERM (Unix)
  SIGUSR1           log what each listener is and has done (Unix)

`

// parse reads the command line. done means that there is nothing to serve, and code is
// then how to exit.
func parse(args []string, stdout, stderr io.Writer) (c *config, code int, done bool) {
	var f flags
	k := kong.Must(&f, kong.Name("ranchd"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp(), kong.DefaultEnvars("RANCHD"),
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help })) // helpTail says how the environment's names are made
	ctx, err := k.Parse(args)
	if err != nil {
		return nil, complain(stderr, err), true
	}
	switch {
	case f.Help:
		ctx.PrintUsage(false)
		io.WriteString(stdout, helpTail+exitHelp)
		return nil, exitInOrder, true
	case f.Version:
		fmt.Fprintln(stdout, version())
		return nil, exitInOrder, true
	}
	c, err = f.config()
	if err != nil {
		return nil, complain(stderr, err), true
	}
	return c, exitInOrder, false
}

// shown returns the flags by their names. None of them is a secret; tokens and keys are files.
func (f *flags) shown() (all shell.Fields) {
	v := reflect.ValueOf(*f)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Tag.Get("env") == "-" {
			continue
		}
		name := cmp.Or(field.Tag.Get("name"), flagName(field.Name))
		value := v.Field(i).Interface()
		if list, ok := value.([]string); ok {
			value = strings.Join(list, " ")
		}
		all = append(all, shell.Field{Key: name, Value: value})
	}
	return all
}

// flagName returns a field's name as kong calls it: MaxConnections is max-connections.
func flagName(field string) string {
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// complain prints every fault on a line of its own.
func complain(w io.Writer, err error) int {
	fmt.Fprintln(w, "ranchd: nothing was opened, because of")
	for _, fault := range split(err) {
		fmt.Fprintf(w, "  %v\n", fault)
	}
	fmt.Fprintln(w, "ranchd --help lists all flags.")
	return exitUsage
}

// split takes apart what errors.Join has put together, at any depth.
func split(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, split(e)...)
	}
	return all
}
