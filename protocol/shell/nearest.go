package shell

// Nearest returns the name that a misspelt one was probably meant to be; "" if none is near.
func Nearest(name string, names []string) string {
	if len(name) > maxName {
		return ""
	}
	best, least := "", 1+min(2, (len(name)+1)/3)
	for _, candidate := range names {
		if d := distance(name, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}
