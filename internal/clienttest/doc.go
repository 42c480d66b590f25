// Package clienttest runs the Go clients that applications use over rekey's dialers, against a
// real server: go-redis, rueidis and redigo know nothing of phases, so every test here is one
// that passes on a bare server, run in each phase of both strategies.
//
// It holds tests only. A client does more with its connection than send commands: it switches the
// protocol, asks for client-side caching, pipelines from many goroutines, closes connections that
// wait. What is tested is that none of it tells the difference, and that values stay right when the
// phases change under its load.
package clienttest
