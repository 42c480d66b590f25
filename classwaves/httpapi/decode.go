package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decode reads a JSON body into what the route takes: one object, nothing unknown in it, nothing
// behind it.
func decode(r *http.Request, into any) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return errMediaType
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) {
			return err
		}
		return errBadRequest
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errBadRequest
	}
	return nil
}

// text checks a text that people wrote and that others will see: trimmed, of 1 to max characters,
// nothing unprintable in it. Spaces of every script are printable, and so are the two joiners, without
// which Persian names and many an emoji cannot be written; but not they alone.
func text(what, s string, max int) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", invalid(what + " must not be empty")
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) || !strings.ContainsFunc(s, unicode.IsPrint):
		return "", invalid(what + " must be printable text")
	case utf8.RuneCountInString(s) > max:
		return "", invalid(what + " is too long")
	}
	return s, nil
}

func unprintable(c rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return !unicode.IsPrint(c) && !unicode.Is(unicode.Zs, c) && c != nonJoiner && c != joiner
}
