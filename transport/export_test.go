package transport

// Activation is for tests: LISTEN_PID of this very process can be set by it alone.
var Activation = activation
