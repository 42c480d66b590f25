package proxy

import (
	"testing"
	"time"
)

// Linger changes how long clients that have all replies may take to close their half, for a test.
func Linger(t *testing.T, d time.Duration) {
	before := lingerWithin
	lingerWithin = d
	t.Cleanup(func() { lingerWithin = before })
}
