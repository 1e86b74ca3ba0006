package client

var ErrSubscribed = errSubscribed
