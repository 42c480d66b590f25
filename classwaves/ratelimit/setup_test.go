package ratelimit_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// A pool of go-redis whose server was killed looks for it once a second, and notices only then that it
// was closed.
func TestMain(m *testing.M) {
	redistest.Main(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// patient is a timeout that no busy machine reaches: tests of counts must not see the insurance.
const patient = 30 * time.Second

// once makes a client try everything once, so that a refused connection is known at once.
func once(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 }

// rule is the limiter's rule in the plan.
const rule = "rate_limits"

func newLimiter(t testing.TB, rdb redis.UniversalClient, changes ...func(*ratelimit.Config)) *ratelimit.Limiter {
	t.Helper()
	config := ratelimit.Config{Redis: rdb, Timeout: patient}
	for _, change := range changes {
		change(&config)
	}
	l, err := ratelimit.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// take is one hit that Redis must decide on.
func take(t testing.TB, l *ratelimit.Limiter, limit ratelimit.Limit, subject string) ratelimit.Decision {
	t.Helper()
	d, err := l.Take(t.Context(), limit, subject)
	if err != nil {
		t.Fatal(err)
	}
	if d.Insured {
		t.Fatal("Redis was not asked, or did not answer")
	}
	return d
}

// hits makes n hits at once, from goroutines of each limiter in turn, and says how many passed.
func hits(t testing.TB, n int, limit ratelimit.Limit, subject string, limiters ...*ratelimit.Limiter) int {
	t.Helper()
	var passed atomic.Int64
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			d, err := limiters[i%len(limiters)].Take(t.Context(), limit, subject)
			if err != nil || d.Insured {
				t.Errorf("hit %d: %+v, %v", i, d, err)
			}
			if d.Allowed {
				passed.Add(1)
			}
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
	return int(passed.Load())
}

func key(t testing.TB, limit ratelimit.Limit, subject string) string {
	t.Helper()
	name, err := keys.RateLimit(limit.Name, subject)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// member is a process of a fleet: a client whose keys rekey places, and a limiter that does not know.
type member struct {
	rekey   *rekey.Rekey
	phases  *rekey.Manual
	client  *redis.Client
	limiter *ratelimit.Limiter
}

func newMember(t testing.TB, s *redistest.Server, at phase.Phase) *member {
	t.Helper()
	phases := rekey.NewManual(phasefleet.At(at, rule))
	r, client := phasefleet.Open(t, s, rekey.WithSource(phases), once)
	return &member{r, phases, client, newLimiter(t, client)}
}

// walk takes the member to a phase and waits until nothing of the one before is under way.
func (m *member) walk(t testing.TB, to phase.Phase) {
	t.Helper()
	phasefleet.Lead(t, m.rekey, m.phases, phasefleet.At(to, rule))
}
