package ranch

var LogObserver = logObserver
