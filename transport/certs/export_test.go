package certs

var ErrBadPair, ErrBadClientCA, ErrBadTicketKeys = errBadPair, errBadClientCA, errBadTicketKeys
