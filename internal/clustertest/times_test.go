package clustertest

import (
	"time"
	_ "unsafe" // go:linkname

	_ "github.com/nats-io/nats-server/v2/server"
)

// Times of elections and routes in nats-server, and of the broker, which have no options. They are
// shortened so that a schedule takes seconds instead of minutes.

//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
var minElectionTimeout time.Duration

//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var maxElectionTimeout time.Duration

//go:linkname minCampaignTimeout github.com/nats-io/nats-server/v2/server.minCampaignTimeout
var minCampaignTimeout time.Duration

//go:linkname maxCampaignTimeout github.com/nats-io/nats-server/v2/server.maxCampaignTimeout
var maxCampaignTimeout time.Duration

//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
var hbInterval time.Duration

//go:linkname lostQuorumInterval github.com/nats-io/nats-server/v2/server.lostQuorumInterval
var lostQuorumInterval time.Duration

//go:linkname lostQuorumCheck github.com/nats-io/nats-server/v2/server.lostQuorumCheck
var lostQuorumCheck time.Duration

// Of a request of the broker, which servers do not answer while they elect a leader.
//
//go:linkname infoTimeout goranch/protocol/pubsub/natsbroker.infoTimeout
var infoTimeout time.Duration

//go:linkname routeConnectDelay github.com/nats-io/nats-server/v2/server.routeConnectDelay
var routeConnectDelay time.Duration

//go:linkname routeConnectMaxDelay github.com/nats-io/nats-server/v2/server.routeConnectMaxDelay
var routeConnectMaxDelay time.Duration

//go:linkname routeReconnectDelay github.com/nats-io/nats-server/v2/server.routeReconnectDelay
var routeReconnectDelay time.Duration

// shortenTimes must be called before a server is started.
func shortenTimes() {
	minElectionTimeout, maxElectionTimeout = 800*time.Millisecond, 2*time.Second
	minCampaignTimeout, maxCampaignTimeout = 10*time.Millisecond, 80*time.Millisecond
	hbInterval, lostQuorumInterval, lostQuorumCheck = 150*time.Millisecond, 2*time.Second, 500*time.Millisecond
	infoTimeout = 400 * time.Millisecond
	routeConnectDelay, routeConnectMaxDelay, routeReconnectDelay = 20*time.Millisecond, 50*time.Millisecond, 20*time.Millisecond
}
