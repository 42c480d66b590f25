package accesscode

import (
	"crypto/rand"
	"strings"

	"github.com/classwaves/rekey/classwaves/keys"
)

const (
	// Alphabet is what codes are made of. Of characters that look alike neither is in it: 0 and O, 1,
	// I and L, 2 and Z, 5 and S, 8 and B.
	Alphabet = "34679ACDEFGHJKMNPQRTUVWXY"
	// Length is how many characters a code has; 25 to the power of 6 are 244 million codes.
	Length = 6
)

// generate draws a code, each one as likely as any other.
func generate() string {
	const fair = 256 - 256%len(Alphabet) // bytes from here on would favour the first characters
	code := make([]byte, 0, Length)
	var random [2 * Length]byte
	for len(code) < Length {
		_, _ = rand.Read(random[:]) // it never fails: it ends the program instead
		for _, b := range random {
			if int(b) < fair && len(code) < Length {
				code = append(code, Alphabet[int(b)%len(Alphabet)])
			}
		}
	}
	return string(code)
}

// The lengths of what can be a code: those of the old release may differ from ours.
const minLength, maxLength = 4, 12

// spaces are left out when people type or dictate a code in groups.
var spaces = strings.NewReplacer(" ", "", "-", "", "\t", "")

// Normalize gives the form in which a code is kept of what somebody typed: capitals, without spaces
// and hyphens. Codes of the old release are of any letters and digits, so look-alikes are not
// replaced. What cannot be a code is a *[keys.InvalidError].
func Normalize(typed string) (string, error) {
	invalid := func(reason string) (string, error) {
		return "", &keys.InvalidError{What: "access code", Reason: reason}
	}
	if len(typed) > 4*maxLength {
		return invalid("is too long")
	}
	code := strings.ToUpper(spaces.Replace(strings.TrimSpace(typed)))
	if len(code) < minLength || len(code) > maxLength {
		return invalid("must have six characters")
	}
	for _, c := range []byte(code) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return invalid("must be of letters and digits")
		}
	}
	return code, nil
}
