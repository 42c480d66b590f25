package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

// apiError is an answer that is not what was asked for.
type apiError struct {
	status  int
	code    string // for programs
	message string // for people
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

// What can go wrong on any route.
var (
	errBadRequest      = &apiError{http.StatusBadRequest, "BAD_REQUEST", "the request cannot be read"}
	errUnauthenticated = &apiError{http.StatusUnauthorized, "UNAUTHENTICATED", "log in first"}
	errCredentials     = &apiError{http.StatusUnauthorized, "INVALID_CREDENTIALS", "email or password is wrong"}
	errCSRFMissing     = &apiError{http.StatusForbidden, "CSRF_TOKEN_MISSING", "the CSRF token is missing"}
	errCSRFInvalid     = &apiError{http.StatusForbidden, "CSRF_TOKEN_INVALID", "the CSRF token is not this session's"}
	errCrossOrigin     = &apiError{http.StatusForbidden, "CROSS_ORIGIN", "the request comes from another site's page"}
	errNotFound        = &apiError{http.StatusNotFound, "NOT_FOUND", "there is no such thing"}
	errMethod          = &apiError{http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "not with this method"}
	errConflict        = &apiError{http.StatusConflict, "CONFLICT", "not in the present state"}
	errTooLarge        = &apiError{http.StatusRequestEntityTooLarge, "TOO_LARGE", "the request is too large"}
	errMediaType       = &apiError{http.StatusUnsupportedMediaType, "MEDIA_TYPE", "send application/json"}
	errTooMany         = &apiError{http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "too many requests; see Retry-After"}
	errInternal        = &apiError{http.StatusInternalServerError, "INTERNAL", "something went wrong here"}
	errUnavailable     = &apiError{http.StatusServiceUnavailable, "UNAVAILABLE", "not available for now; try again"}
)

// invalid is a request whose meaning is not.
func invalid(message string) error {
	return &apiError{http.StatusUnprocessableEntity, "INVALID", message}
}

func tooMany(http.ResponseWriter, *http.Request) error { return errTooMany }

// asAPIError says what an error is to the client. The second result is whether it is news to the
// operator.
func asAPIError(err error) (e *apiError, unexpected bool) {
	var (
		badKey  *keys.InvalidError
		event   *analytics.EventError
		tooLong *http.MaxBytesError
	)
	switch {
	case errors.As(err, &e):
		return e, false
	case errors.Is(err, session.ErrNone), errors.Is(err, session.ErrFingerprint):
		return errUnauthenticated, false
	case errors.As(err, &badKey):
		return errNotFound, false // nothing can have such a name
	case errors.As(err, &event):
		return &apiError{http.StatusUnprocessableEntity, "INVALID", event.Reason}, false
	case errors.Is(err, analytics.ErrNoSession), errors.Is(err, analytics.ErrNoGroup):
		return errNotFound, false
	case errors.Is(err, analytics.ErrEnded):
		return errConflict, false
	case errors.As(err, &tooLong):
		return errTooLarge, false
	case unavailable.Is(err):
		return errUnavailable, false // whoever it is that is not there has said so
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errUnavailable, false
	}
	return errInternal, true
}

// fail answers with an error.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, unexpected := asAPIError(err)
	if unexpected {
		a.log.ErrorContext(r.Context(), "request failed", "request_id", requestID(r.Context()), "error", err)
	}
	if e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	type body struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		RequestID string `json:"requestId"`
	}
	write(w, e.status, struct {
		Error body `json:"error"`
	}{body{e.code, e.message, requestID(r.Context())}})
}

// refuseCSRF answers for package csrf.
func (a *API) refuseCSRF(w http.ResponseWriter, r *http.Request, status int, code string) {
	for _, e := range []*apiError{errCSRFMissing, errCSRFInvalid} {
		if e.code == code {
			a.fail(w, r, e)
			return
		}
	}
	a.fail(w, r, &apiError{status, code, http.StatusText(status)})
}

// write answers with JSON.
func write(w http.ResponseWriter, status int, body any) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // fails when the client is gone
}
