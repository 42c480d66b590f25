package ttl_test

import (
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/ttl"
)

// TestLifetimes: those of the old release, which are in production. A process that kept something for
// another time would disagree with those beside it.
func TestLifetimes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		got     time.Duration
		seconds int
	}{
		{"analytics of a session", ttl.AnalyticsSession, 300},
		{"analytics of a group", ttl.AnalyticsGroup, 300},
		{"dashboard", ttl.AnalyticsDashboard, 60},
		{"session-list", ttl.QuerySessionList, 45},
		{"session-detail", ttl.QuerySessionDetail, 600},
		{"teacher-analytics", ttl.QueryTeacherAnalytics, 1800},
		{"session-analytics", ttl.QuerySessionAnalytics, 1200},
		{"group-status", ttl.QueryGroupStatus, 10},
		{"dashboard-metrics", ttl.QueryDashboardMetrics, 45},
		{"CSRF token", ttl.CSRF, 3600},
		{"login session", ttl.SecureSession, 86400},
		{"a teacher's login sessions", ttl.TeacherSessions, 86400},
		{"access code", ttl.AccessCode, 86400},
	} {
		if want := time.Duration(tt.seconds) * time.Second; tt.got != want {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, want)
		}
	}
}

// TestJitter: within 15 % on both sides, and not always the same.
func TestJitter(t *testing.T) {
	const d = 100 * time.Second
	low, high := d, d
	for range 10_000 {
		got := ttl.Jitter(d)
		low, high = min(low, got), max(high, got)
	}
	if low < 85*time.Second || high > 115*time.Second {
		t.Errorf("from %v to %v, want within 15 %% of %v", low, high, d)
	}
	if low > 90*time.Second || high < 110*time.Second {
		t.Errorf("from %v to %v: that spreads nothing", low, high)
	}
}
