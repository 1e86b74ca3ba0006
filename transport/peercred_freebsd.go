package transport

func peerPID(int) int { return 0 }
