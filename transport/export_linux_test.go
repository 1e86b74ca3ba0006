package transport

const MaxWaiting = maxWaiting

// Waiting returns the number of waiting goroutines that are counted.
func Waiting() int32 { return waiting.Load() }
