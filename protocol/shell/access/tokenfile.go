package access

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"goranch/internal/reload"
	"goranch/protocol/shell"
)

const (
	maxTokens     = 1000
	maxTokenFile  = 1 << 20
	maxFaults     = 20 // of one file, that are told
	maxNameLength = 64
	hashPrefix    = "sha256:"
	nameRule      = "a name is of 1 to 64 letters, digits and \"._@-\""
)

var roleWords = map[shell.Role]string{shell.Viewer: "viewer", shell.Operator: "operator"}

// readFile reads the file of tokens, after a look at who else can.
func readFile(path string) ([]byte, error) {
	b, err := reload.ReadFile(path, maxTokenFile, func(fi fs.FileInfo) error {
		if err := checkMode(fi); err != nil {
			return fmt.Errorf("%w: %w", ErrBadTokenFile, err)
		}
		return nil
	})
	if errors.As(err, new(reload.TooLargeError)) {
		err = fmt.Errorf("%w: %w", ErrBadTokenFile, err)
	}
	return b, err
}

// parseTokens reads all lines, or says what is wrong with each. It shows nothing of a line: what
// stands in the wrong place may be a token.
func parseTokens(b []byte) ([]entry, error) {
	var list []entry
	var faults []error
	names, hashes := map[string]int{}, map[[32]byte]int{}
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // some editors begin with it
	n := 0
	for line := range bytes.Lines(b) {
		n++
		fields := strings.Fields(string(line))
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		e, err := parseLine(fields)
		e.line = n
		switch {
		case err != nil:
		case names[e.name] != 0:
			err = fmt.Errorf("its name is that of line %d", names[e.name])
		case hashes[e.hash] != 0:
			err = fmt.Errorf("its hash is that of line %d", hashes[e.hash])
		default:
			names[e.name], hashes[e.hash] = n, n
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		list = append(list, e)
	}
	if len(list) > maxTokens {
		faults = append(faults, fmt.Errorf("line %d: there are more than %d tokens", list[maxTokens].line, maxTokens))
	}
	if faults == nil {
		return list, nil
	}
	if more := len(faults) - maxFaults; more > 0 {
		faults = append(faults[:maxFaults], fmt.Errorf("and %d more lines", more))
	}
	return nil, fmt.Errorf("%w: %w", ErrBadTokenFile, errors.Join(faults...))
}

func parseLine(fields []string) (e entry, err error) {
	for role, word := range roleWords {
		if fields[0] == word {
			e.role = role
		}
	}
	switch {
	case e.role == shell.Guest:
		return e, errors.New("the first word is no role; use \"viewer\" or \"operator\"")
	case len(fields) != 3:
		return e, fmt.Errorf("it has %d words; use \"role name hash\"", len(fields))
	case !validName(fields[1]):
		return e, errors.New("the second word is no name; " + nameRule)
	}
	e.name = fields[1]
	e.hash, err = parseHash(fields[2])
	return e, err
}

func parseHash(s string) (sum [32]byte, err error) {
	digits, ok := strings.CutPrefix(s, hashPrefix)
	switch {
	case ok && len(digits) == hex.EncodedLen(len(sum)):
		if _, err := hex.Decode(sum[:], []byte(digits)); err == nil {
			return sum, nil
		}
	case ok:
		return sum, fmt.Errorf("%d digits follow \"sha256:\"; there must be 64 hexadecimal ones", len(digits))
	case strings.HasPrefix(s, "$"):
		return sum, errors.New("the hash is one for passwords; tokens are random, and hashed by SHA-256: use \"sha256:\" and 64 hexadecimal digits")
	default:
		return sum, errors.New("the third word is no hash; use \"sha256:\" and 64 hexadecimal digits, never the token itself")
	}
	return sum, errors.New("there is something else than hexadecimal digits after \"sha256:\"")
}

func validName(s string) bool {
	if s == "" || len(s) > maxNameLength {
		return false
	}
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("._@-", r):
		default:
			return false
		}
	}
	return true
}
