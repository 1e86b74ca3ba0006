package bots

// perAddress is how many bots connect from one source address. An address has some
// 28,000 ports unless the system is told otherwise.
const perAddress = 20_000

// sourceAddr is where a bot connects from to a server on loopback.
func sourceAddr(i int) [4]byte {
	n := 2 + i/perAddress
	return [4]byte{127, 0, byte(n >> 8), byte(n)}
}
