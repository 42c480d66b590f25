package accesscode_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/keys"
)

func TestAlphabetHasNoLookAlikes(t *testing.T) {
	for _, alike := range []string{"0O", "1IL", "2Z", "5S", "8B"} {
		if strings.ContainsAny(accesscode.Alphabet, alike) {
			t.Errorf("one of %q is in the alphabet", alike)
		}
	}
	for i, c := range accesscode.Alphabet {
		if strings.ContainsRune(accesscode.Alphabet[i+1:], c) {
			t.Errorf("%q is twice in the alphabet", c)
		}
	}
}

func TestGenerate(t *testing.T) {
	const n = 50_000
	seen := make(map[string]bool, n)
	var counts [accesscode.Length]map[byte]int
	for range n {
		code := accesscode.Generate()
		if normal, err := accesscode.Normalize(code); len(code) != accesscode.Length || err != nil || normal != code {
			t.Fatalf("drew %q, which is %q: %v", code, normal, err)
		}
		seen[code] = true
		for i := range counts {
			if counts[i] == nil {
				counts[i] = make(map[byte]int)
			}
			counts[i][code[i]]++
		}
	}
	// Of 50,000 out of 244 million some 5 pairs are the same; 100 would be another generator.
	if len(seen) < n-100 {
		t.Errorf("%d of %d codes are different", len(seen), n)
	}
	// Each character is expected 2,000 times in each place; 400 are nine standard deviations.
	for i := range counts {
		for _, c := range []byte(accesscode.Alphabet) {
			if got, want := counts[i][c], n/len(accesscode.Alphabet); got < want-400 || got > want+400 {
				t.Errorf("place %d: %c was drawn %d times, want about %d", i, c, got, want)
			}
		}
	}
}

func TestNormalize(t *testing.T) {
	for typed, want := range map[string]string{
		"ABC234": "ABC234", "abc234": "ABC234", " abc 234 ": "ABC234", "abc-234": "ABC234", "a b c\t2-3-4\n": "ABC234",
		"O0I1LS": "O0I1LS", // a code of the old release may hold any of them
	} {
		if got, err := accesscode.Normalize(typed); got != want || err != nil {
			t.Errorf("%q became %q, %v, want %q", typed, got, err, want)
		}
	}
	for _, typed := range []string{"", "   ", "ABC", "ABCDEFGHIJKLM", "ABC:34", "ABC*34", "ABÇ234", "АВС234", "ABC\x00234", "x:access_code", strings.Repeat(" ", 1000)} {
		var invalid *keys.InvalidError
		if got, err := accesscode.Normalize(typed); got != "" || !errors.As(err, &invalid) {
			t.Errorf("%q became %q, %v", typed, got, err)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"abc-234", "ABC:34", "ſſſſſſ", "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, err := accesscode.Normalize(typed)
		if err != nil {
			return
		}
		if again, err := accesscode.Normalize(code); again != code || err != nil {
			t.Errorf("%q is not its own normal form: %q, %v", code, again, err)
		}
		if _, err := keys.AccessCode(code); err != nil {
			t.Errorf("%q is in no key: %v", code, err)
		}
	})
}
