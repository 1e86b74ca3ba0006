package protocoltest

var ErrFlaky = errFlaky
