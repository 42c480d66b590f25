package ratelimit

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// The headers of draft-ietf-httpapi-ratelimit-headers, in the form of three that clients read today.
const (
	headerLimit     = "RateLimit-Limit"
	headerRemaining = "RateLimit-Remaining"
	headerReset     = "RateLimit-Reset"
)

// Middleware counts each request as a hit of its subject, tells the client with the RateLimit
// headers, and answers what is over the limit with Retry-After and tooMany (nil: a plain 429), which
// writes the status and the body. A request whose subject cannot be counted gets 400; a middleware
// that counts users stands behind the authentication.
//
// Of several limits on one request the headers tell of the one with the fewest points left.
func (l *Limiter) Middleware(limit Limit, subject func(*http.Request) string, tooMany http.Handler) func(http.Handler) http.Handler {
	if tooMany == nil {
		tooMany = http.HandlerFunc(plainTooMany)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d, err := l.Take(r.Context(), limit, subject(r))
			if err != nil {
				http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
				return
			}
			d.tell(w.Header())
			if !d.Allowed {
				tooMany.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func plainTooMany(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, http.StatusText(http.StatusTooManyRequests), http.StatusTooManyRequests)
}

// tell sets the headers; those of a tighter limit stay when this one allows the hit.
func (d Decision) tell(h http.Header) {
	if d.Allowed {
		left, err := strconv.Atoi(h.Get(headerRemaining))
		if err == nil && left <= d.Remaining {
			return
		}
	} else {
		h.Set("Retry-After", seconds(d.RetryAfter))
	}
	h.Set(headerLimit, strconv.Itoa(d.Limit))
	h.Set(headerRemaining, strconv.Itoa(d.Remaining))
	h.Set(headerReset, seconds(d.Reset))
}

// seconds rounds up: whoever comes back then is not too early.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
}
