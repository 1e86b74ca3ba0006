package upgrade

// BeforeServing makes Ready call f when the predecessor has stopped accepting.
func BeforeServing(f func()) { beforeServing = f }

// Generation returns 1 for a process without a predecessor, and otherwise one more than that has.
func Generation(u *Upgrader) int { return u.generation }
