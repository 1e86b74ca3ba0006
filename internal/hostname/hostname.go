// Package hostname checks host names that clients send, and brings them into the form in which they
// are looked up.
package hostname

// Max is the length of the longest host name, in bytes: RFC 1035, section 2.3.4, allows 255 with
// the lengths of the labels.
const Max = 253

const maxLabel = 63 // RFC 1035, section 2.3.4

// Append appends host in lower case to b, and reports whether it is valid: up to 253 bytes, in
// labels of 1 to 63 letters, digits, hyphens except at the beginning, and underscores, which occur
// in practice. A dot at the end is not valid. If host is not valid, the result of Append must not
// be used.
func Append[T ~string | ~[]byte](b []byte, host T) ([]byte, bool) {
	if len(host) > Max {
		return b, false
	}
	label := 0 // bytes of the label so far
	for i := range len(host) {
		c := host[i]
		switch {
		case c == '.' && label > 0:
			b, label = append(b, c), 0
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-' && label > 0:
		default:
			return b, false
		}
		if label++; label > maxLabel {
			return b, false
		}
		b = append(b, c)
	}
	return b, label > 0
}
