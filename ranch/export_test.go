package ranch

var LogEvent = logEvent
