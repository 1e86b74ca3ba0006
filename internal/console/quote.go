package console

import "strings"

// Line makes a command line of a command's name and its arguments, which the server
// takes apart into the same again. A name with a colon has a value, which is all the
// rest as it is.
func Line(args []string) string {
	if strings.Contains(args[0], ":") {
		return strings.Join(args, " ")
	}
	words := []string{args[0]}
	for _, arg := range args[1:] {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

func quote(arg string) string {
	if arg != "" && !strings.ContainsAny(arg, " \t\"'\\") {
		return arg
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(arg) + `"`
}
