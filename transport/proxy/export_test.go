package proxy

// For tests in package proxy_test: the kinds of ErrBadHeader, and the types of TLVs.
var (
	ErrMalformed = errMalformed
	ErrChecksum  = errChecksum
	ErrTooLarge  = errTooLarge
)

const (
	TypeALPN      = typeALPN
	TypeAuthority = typeAuthority
	TypeCRC32C    = typeCRC32C
	TypeNoop      = typeNoop
	TypeUniqueID  = typeUniqueID
	TypeNetNS     = typeNetNS
	TypeSSL       = typeSSL
	MaxUniqueID   = maxUniqueID
)
