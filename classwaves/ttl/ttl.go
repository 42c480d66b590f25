// Package ttl is the one table of how long ClassWaves keeps what it keeps in Redis.
package ttl

import (
	"math/rand/v2"
	"time"
)

// Lifetimes by kind of key. The old release uses the same ones, but for the locks and the previous
// CSRF token, which are new.
const (
	AnalyticsSession   = 300 * time.Second
	AnalyticsGroup     = 300 * time.Second
	AnalyticsDashboard = 60 * time.Second

	QuerySessionList      = 45 * time.Second
	QuerySessionDetail    = 600 * time.Second
	QueryTeacherAnalytics = 1800 * time.Second
	QuerySessionAnalytics = 1200 * time.Second
	QueryGroupStatus      = 10 * time.Second
	QueryDashboardMetrics = 45 * time.Second
	QueryLock             = 10 * time.Second

	CSRF         = 3600 * time.Second
	CSRFPrevious = 300 * time.Second

	SecureSession   = 86400 * time.Second
	TeacherSessions = 86400 * time.Second
	AccessCode      = 86400 * time.Second
)

// spread is how far a jittered lifetime may be from the one in the table.
const spread = 0.15

// Jitter gives a lifetime within 15 % of d, so that what was stored together does not end together.
func Jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - spread + 2*spread*rand.Float64()))
}
