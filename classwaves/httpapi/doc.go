// Package httpapi is the HTTP and WebSocket face of ClassWaves.
//
// A request goes through the same steps on every route, in this order: a request id, a recovery from
// panics, the access log, security headers, the origin check of [http.CrossOriginProtection], limits
// of body and time, the rate limit of the address, the login session, authentication, the CSRF token,
// the rate limit of the user, the handler. Which of them a route has stands in one table (routes.go),
// which the OpenAPI description is tested against.
//
// What is not known is not guessed. A store that cannot answer makes a request fail with 503 and
// Retry-After, never with 401 or 404 and never let in; package unavailable carries the difference
// from the stores to here. Logs and metrics name routes, never paths: identifiers stay out of them.
package httpapi
