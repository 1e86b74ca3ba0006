package session

// RandomID is exported for tests.
var RandomID = randomID
