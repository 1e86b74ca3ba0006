package netlisten

var ErrRefused = errRefused
