//go:build !long

package sweep_test

// killsPerSweep is how often each sweep is killed before it may end.
const killsPerSweep = 3
