package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// participant is a student's browser in a class session. It is kept in a cookie that we sign: joining
// needs no account, and forging one needs the key.
type participant struct {
	ID      string    `json:"id"`
	Session string    `json:"session"`
	Group   string    `json:"group"`
	Until   time.Time `json:"until"`
}

const participantCookie = "cw_participant"

// participantTime is how long a student's cookie holds: a school day.
const participantTime = 12 * time.Hour

func (a *API) setParticipant(w http.ResponseWriter, p participant) error {
	payload, err := json.Marshal(p)
	if err != nil {
		return err
	}
	value := base64.RawURLEncoding.EncodeToString(payload)
	http.SetCookie(w, &http.Cookie{
		Name: participantCookie, Value: value + "." + base64.RawURLEncoding.EncodeToString(sign(a.c.ParticipantKeys[0], value)),
		Path: "/api/v1/live/", Expires: p.Until, HttpOnly: true, Secure: a.c.Secure, SameSite: http.SameSiteStrictMode,
	})
	return nil
}

func sign(key []byte, value string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("classwaves participant\x00" + value))
	return mac.Sum(nil)
}

// participantOf reads the student of a request.
func (a *API) participantOf(r *http.Request) (participant, bool) {
	c, err := r.Cookie(participantCookie)
	if err != nil {
		return participant{}, false
	}
	value, signature, ok := strings.Cut(c.Value, ".")
	if !ok {
		return participant{}, false
	}
	mac, err := base64.RawURLEncoding.DecodeString(signature)
	signed := func(key []byte) bool { return hmac.Equal(mac, sign(key, value)) }
	if err != nil || !slices.ContainsFunc(a.c.ParticipantKeys, signed) {
		return participant{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return participant{}, false
	}
	var p participant
	if err := json.Unmarshal(payload, &p); err != nil || !a.c.Now().Before(p.Until) {
		return participant{}, false
	}
	return p, true
}
