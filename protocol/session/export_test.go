package session

// RandomID is exported for tests.
var RandomID = randomID

// Decimal is exported for tests.
var Decimal = decimal
