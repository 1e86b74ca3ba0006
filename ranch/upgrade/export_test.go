package upgrade

// BeforeServing makes Ready call f when the predecessor has stopped accepting.
func BeforeServing(f func()) { beforeServing = f }
