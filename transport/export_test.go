package transport

// Activation is exported for tests, because a process cannot set LISTEN_PID before it knows its id.
var Activation = activation
