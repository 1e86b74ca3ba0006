// Package nearest finds the name that a misspelt one was probably meant to be.
package nearest

// maxLength is the length in bytes above which a name has no suggestion.
const maxLength = 64

// Name returns the candidate with the smallest edit distance to name, the first of equals. It
// returns "" if every candidate differs in more than two letters, or in more than a third of them.
func Name(name string, candidates []string) string {
	if len(name) > maxLength {
		return ""
	}
	best, least := "", 1+min(2, (len(name)+1)/3)
	for _, c := range candidates {
		if d := distance(name, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance returns the number of letters to insert, delete, replace, or swap with their neighbour
// that turns a into b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
