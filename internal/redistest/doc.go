// Package redistest gives tests a real server: Redis or Valkey, whichever is installed or named by
// REKEY_TEST_SERVER. The bare server is the oracle of this project, so there is no mock beside it.
//
//	s := redistest.Shared(t)                                // flushed, this test's alone, reused by later tests
//	s := redistest.Start(t, redistest.WithConfig("maxmemory 10mb")) // a process of its own
//	link := redistest.SlowLink(t, s.Addr())                 // a network to delay, stall and cut
//
// Every process lives in its own directory, on its own loopback port and unix socket, and ends
// with its test; on Linux also with a test binary that is killed. Tests that use [Shared] call
// [Main] from TestMain.
package redistest
