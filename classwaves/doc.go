// Package classwaves is the plan of the classroom backend that rekey was asked for, and the root of
// its reference application: the services that keep something in Redis, each a package of its own
// (querycache, analytics, ratelimit, session, accesscode, csrf), the database behind them, and the
// HTTP and WebSocket server over all of it (httpapi, cmd/classwaves).
//
// Everything here is written with one name for each key, the one that production always had (package
// keys). Where a key lives is rekey's to know: the only trace of the migration is the dialer in the
// Redis client's options.
package classwaves
