// Package app puts ClassWaves together: a Redis client whose dialer is rekey's, the services over it,
// the database behind them, the HTTP server in front.
//
// This is where the migration is, all of it: [rekey.Open] with the plan, and r.Dialer in the client's
// options. The services get the client and know nothing of it.
//
// Start opens everything or nothing. Close stops in the order of the dependencies: no new requests,
// running ones and WebSockets ended, the work in the background, the stores.
package app
