package main

// fileKeys are the settings that only files have. Those with top "no" are for tables of listeners,
// or name them.
type fileKeys struct {
	Name     string `top:"no" on:"listener" change:"listener" example:"\"game\"" help:"Name of the listener in logs and commands. A reload matches listeners by name. Default: protocol and transport, for example echo-tcp."`
	Address  string `top:"no" on:"listener" change:"resume" example:"\"tls://0.0.0.0:7443\"" help:"Address to listen on: tcp://host:port, tls://host:port, unix:/path, systemd:NAME or fd:N, and tls+unix:, tls+systemd: and tls+fd: for TLS. It is required."`
	Protocol string `top:"no" on:"listener" kind:"protocol" change:"now" example:"\"echo\"" help:"Protocol: echo, shell, topics, packet, web (topics for browsers), relay (to other servers), admin (the operators' shell), or admin-http (the operators' HTTP server). Default: echo."`
	Service  string `top:"no" on:"shell,topics,packet,web,relay" change:"now" example:"\"topics\"" help:"Name of the service that the listener belongs to. Listeners of the same protocol and service share its sessions, topics, rooms and upstreams, and have the same options of the protocol; listeners of web share the topics of those of topics. Default: the protocol, topics for web, and the name of the listener for relay."`
	Limits   string `top:"no" on:"listener" change:"restart" example:"\"clients\"" help:"Name of a table limits.NAME, whose limits are shared by all listeners that name it. Default: none."`
	Fallback bool   `top:"no" on:"listener" kind:"bool" change:"resume" default:"false" help:"Listen on another free port if the address is in use."`

	ReadTimeout      string `on:"listener" kind:"time" change:"now" default:"infinity" help:"End connections that have received nothing for this long, or infinity."`
	WriteTimeout     string `on:"listener" kind:"time" change:"now" default:"infinity" help:"End connections to which nothing was sent for this long, or infinity."`
	ReceiveRate      string `on:"listener" kind:"limit" change:"now" default:"unlimited" help:"Bytes per second that one connection may send to the server, or unlimited. The server reads no faster, so that the client waits."`
	SendRate         string `on:"listener" kind:"limit" change:"now" default:"unlimited" help:"Bytes per second that are sent to one connection, or unlimited."`
	TotalReceiveRate string `on:"listener" kind:"limit" change:"now" default:"unlimited" help:"Bytes per second that all connections of the listener may send together, or unlimited."`
	TotalSendRate    string `on:"listener" kind:"limit" change:"now" default:"unlimited" help:"Bytes per second that are sent to all connections of the listener together, or unlimited."`
	MinReceiveRate   string `on:"shell,admin,topics,packet" kind:"number" change:"now" default:"0" help:"End connections whose clients send fewer bytes per second than this while a request is incomplete, measured over 10 s. 0 disables this."`
	ParkAfter        string `on:"listener" kind:"time" change:"now" default:"1s" help:"Idle time after which a connection is parked, which frees its goroutine and buffers, or infinity."`
	Evict            string `on:"listener" kind:"evict" change:"now" default:"none" help:"Which connections are asked to stop when max-connections is lowered below their number: none, oldest, most-idle or random."`
	KeepClosed       string `on:"listener" kind:"number" change:"restart" default:"100" help:"Number of closed connections that the command closed can show. 0 is none."`
	KeepAlive        string `on:"listener" kind:"time" change:"resume" default:"15s" help:"Idle time before the first TCP keepalive probe, or infinity for no probes."`

	MaxFrame         string `on:"topics,web,packet" kind:"frame" change:"protocol" default:"262144" help:"Maximum length of a client's frame, in bytes."`
	MaxSubscriptions string `on:"topics,web" kind:"positive" change:"restart" default:"1000" help:"Maximum number of subscriptions of one session."`
	MaxTopics        string `on:"topics,web" kind:"positive" change:"restart" default:"1048576" help:"Maximum number of topics with subscribers."`
	TotalBytes       string `on:"topics,web" kind:"limit" change:"restart" default:"536870912" help:"Maximum memory of the subscriptions and incomplete frames of all connected clients, in bytes, or unlimited. A subscription counts as 512 bytes plus the length of its name; frames up to 16 KiB do not count."`
	AddressBytes     string `on:"topics,web" kind:"limit" change:"restart" example:"67108864" help:"The same for one source address (IPv6: one /64); incomplete frames may take a quarter of it. Default: a 32nd of what is free of total-bytes and, in topics, of max-topics; a 64th for incomplete frames."`
	PublishRate      string `on:"topics,web" kind:"limit" change:"restart" default:"10000" help:"Messages per second that a connection may publish, or unlimited."`
	Heartbeat        string `on:"topics,web" kind:"time" change:"restart" default:"30s" help:"Time without output to a client after which the server sends PING, or infinity."`
	History          string `on:"topics,web" kind:"number" change:"restart" default:"16" help:"Number of recent messages that a topic keeps. 0 is none."`
	Retain           string `on:"topics,web" kind:"time" change:"restart" default:"1m" help:"How long the history of a topic without subscribers is kept, or infinity."`
	MaxBrowsers      string `on:"web" kind:"limit" change:"now" default:"10000" help:"Maximum number of connected browsers, or unlimited."`
	BytesPerSecond   string `on:"packet" kind:"limit" change:"now" default:"1048576" help:"Bytes per second that a client may send, or unlimited."`
	FramesPerSecond  string `on:"packet" kind:"limit" change:"now" default:"200" help:"Frames per second that a client may send, or unlimited."`
	MaxBatch         string `on:"packet" kind:"positive" change:"now" default:"100" help:"Maximum number of requests in a batch."`

	relayKeys
}

// relayKeys are the settings of relay listeners besides --upstream.
type relayKeys struct {
	UpstreamCA     []string `on:"relay" kind:"files" change:"now" name:"upstream-ca" example:"[\"upstreams.pem\"]" help:"CA certificates that sign the certificates of upstreams with TLS, PEM. They are read again on each reload. Default: those of the system."`
	UpstreamName   string   `on:"relay" kind:"text" change:"now" example:"\"internal.example.org\"" help:"Server name (SNI) for upstreams with TLS, for which their certificates must be valid. Default: the host of the address."`
	UpstreamHeader string   `on:"relay" kind:"header" change:"now" default:"none" help:"PROXY header with the client's address that is sent to upstreams before the data: none, v1 or v2."`
	DialTimeout    string   `on:"relay" kind:"duration" change:"now" default:"5s" help:"Time limit of an attempt to connect to an upstream."`
	DialAttempts   string   `on:"relay" kind:"positive" change:"now" default:"3" help:"Maximum number of upstreams that are tried for one connection."`
	MaxFailures    string   `on:"relay" kind:"limit" change:"now" default:"3" help:"Number of failures of an upstream within failure-window after which it is not used for failure-back-off, or unlimited. A failure is a failed attempt to connect, or a connection that the upstream resets before it has sent data."`
	FailureWindow  string   `on:"relay" kind:"duration" change:"now" default:"10s" help:"Period for max-failures."`
	FailureBackOff string   `on:"relay" kind:"duration" change:"now" default:"10s" help:"How long a failing upstream is not used while others are available."`
	HealthInterval string   `on:"relay" kind:"time" change:"now" default:"infinity" help:"Time between two health checks, which connect to each upstream: at least 10ms, or infinity for no checks."`
	HealthTimeout  string   `on:"relay" kind:"duration" change:"now" default:"5s" help:"Time limit of a health check."`
	HealthFall     string   `on:"relay" kind:"positive" change:"now" default:"3" help:"Consecutive failed checks after which an upstream is not used."`
	HealthRise     string   `on:"relay" kind:"positive" change:"now" default:"2" help:"Consecutive successful checks after which it is used again."`
	DrainIdle      string   `on:"relay" kind:"time" change:"now" default:"1s" help:"Time without traffic after which a connection is closed while its listener stops, or infinity."`
}

// routeKeys are the settings of a table [[listener.route]].
type routeKeys struct {
	ServerName []string `kind:"list" example:"[\"shop.example.org\", \"*.shop.example.org\"]" help:"Server names (SNI) of the clients: names; \"*.example.org\" for all names that end with .example.org; and \"\" for clients that send none. Default: all, with alpn."`
	ALPN       []string `name:"alpn" kind:"list" example:"[\"h2\", \"http/1.1\"]" help:"Application protocols, of which the clients must offer one. Default: all, with server-name."`
	Upstream   []string `kind:"list" example:"[\"10.0.1.1:443\", \"10.0.1.2:443 weight=2 max=1000\"]" help:"Servers to which these clients are forwarded, in the form of upstream of the listener. It is required."`
}

// limitsKeys are the settings of a table [limits.NAME].
type limitsKeys struct {
	MaxConnections string `kind:"limit" default:"unlimited" help:"Maximum number of connections of all its listeners together, or unlimited."`
	MaxPerAddress  string `kind:"limit" default:"unlimited" help:"Maximum number of connections of one source address to all of them, or unlimited."`
	AddressRate    string `kind:"rate" default:"unlimited" help:"Connections per second from one source address to all of them, N or \"N:BURST\", or unlimited."`
	AcceptRate     string `kind:"rate" default:"unlimited" help:"Connections per second that all of them accept, N or \"N:BURST\", or unlimited."`

	MaxUnestablished string `kind:"limit" default:"unlimited" help:"Maximum number of connections to all of them that have not logged in, or unlimited; see login-timeout. Those of protocols without a login count as well."`
}

// networkKeys are the settings of a table [[network]].
type networkKeys struct {
	Prefix      string `kind:"prefix" example:"\"10.0.0.0/8\"" help:"Network, or address, that the rule is for. It is required. If several contain an address, the longest prefix applies."`
	Deny        bool   `kind:"bool" default:"false" help:"Refuse connections from the network."`
	Reset       bool   `kind:"bool" default:"false" help:"Reset refused connections instead of sending the rejection message of the protocol."`
	Exempt      bool   `kind:"bool" default:"false" help:"Exempt the network from max-per-address and address-rate."`
	PerAddress  string `name:"max-per-address" kind:"limit" example:"100" help:"Maximum number of connections of one source address in the network. Default: that of the listener."`
	AddressRate string `kind:"rate" example:"\"10:20\"" help:"Connections per second from one source address in the network. Default: that of the listener."`
	Bits4       string `name:"bits-ipv4" kind:"bits4" example:"24" help:"Length of the prefixes of IPv4 addresses that count as one source address in the network. Default: 32."`
	Bits6       string `name:"bits-ipv6" kind:"bits6" example:"56" help:"The same for IPv6 addresses. Default: 64."`
	Reason      string `example:"\"crawler\"" help:"Reason, for logs and the command bans."`
}
