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
	maxFaults     = 20 // reported for one file
	maxNameLength = 64
	hashPrefix    = "sha256:"
	nameRule      = "allowed are 1 to 64 letters, digits and \"._@-\""
)

// errTokenFile is wrapped by the errors about the content or mode of a token file.
var errTokenFile = errors.New("invalid token file")

var roleWords = map[shell.Role]string{shell.Viewer: "viewer", shell.Operator: "operator"}

// readFile reads the token file after it has checked its mode.
func readFile(path string) ([]byte, error) {
	b, err := reload.ReadFile(path, maxTokenFile, func(fi fs.FileInfo) error {
		if err := checkMode(fi); err != nil {
			return fmt.Errorf("%w: %w", errTokenFile, err)
		}
		return nil
	})
	if errors.As(err, new(reload.TooLargeError)) {
		err = fmt.Errorf("%w: %w", errTokenFile, err)
	}
	return b, err
}

// parseTokens parses all lines. Its error names each invalid line by its number, and contains no
// text of the file, which may be a token in the wrong place.
func parseTokens(b []byte) ([]entry, error) {
	var list []entry
	var faults []error
	names, hashes := map[string]int{}, map[[32]byte]int{}
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // byte order mark of some editors
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
			err = fmt.Errorf("the name is already used in line %d", names[e.name])
		case hashes[e.hash] != 0:
			err = fmt.Errorf("the hash is already used in line %d", hashes[e.hash])
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
		faults = append(faults, fmt.Errorf("line %d: allowed are at most %d tokens", list[maxTokens].line, maxTokens))
	}
	if faults == nil {
		return list, nil
	}
	if more := len(faults) - maxFaults; more > 0 {
		faults = append(faults[:maxFaults], fmt.Errorf("and %d more lines", more))
	}
	return nil, fmt.Errorf("%w: %w", errTokenFile, errors.Join(faults...))
}

func parseLine(fields []string) (e entry, err error) {
	for role, word := range roleWords {
		if fields[0] == word {
			e.role = role
		}
	}
	switch {
	case e.role == shell.Guest:
		return e, errors.New("the first word must be the role, \"viewer\" or \"operator\"")
	case len(fields) != 3:
		return e, fmt.Errorf("got %d words, want \"role name hash\"", len(fields))
	case !validName(fields[1]):
		return e, errors.New("the second word must be a name: " + nameRule)
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
		return sum, fmt.Errorf("got %d digits after \"sha256:\", want 64 hexadecimal digits", len(digits))
	case strings.HasPrefix(s, "$"):
		return sum, errors.New("password hashes are not supported; use \"sha256:\" and 64 hexadecimal digits")
	default:
		return sum, errors.New("the third word must be a hash, \"sha256:\" and 64 hexadecimal digits, not the token itself")
	}
	return sum, errors.New("the characters after \"sha256:\" must be hexadecimal digits")
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
