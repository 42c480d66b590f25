package ratelimit

import (
	"container/list"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// insurance limits the subjects of one process in its memory.
type insurance struct {
	max int

	mu       sync.Mutex
	subjects map[string]*list.Element // of *insured
	recent   *list.List               // of *insured, those used last in front
}

// insured is one subject of a limit.
type insured struct {
	key    string
	limit  Limit
	bucket *rate.Limiter
	// blocked is the end of a block that the insurance began, told that of a refusal by Redis.
	blocked, told time.Time
}

func newInsurance(most int) *insurance {
	return &insurance{max: most, subjects: make(map[string]*list.Element), recent: list.New()}
}

// take decides on one hit.
func (n *insurance) take(now time.Time, limit Limit, key string) Decision {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.subject(now, limit, key)
	if shut := s.shutUntil(); now.Before(shut) {
		return s.refused(shut.Sub(now))
	}
	if s.bucket.AllowN(now, 1) {
		tokens := s.bucket.TokensAt(now)
		return Decision{Allowed: true, Limit: limit.Points, Remaining: int(tokens), Reset: s.untilFull(now), Insured: true}
	}
	if limit.Block > 0 {
		s.blocked = now.Add(limit.Block)
		s.bucket = limit.bucket() // full when the block ends
		return s.refused(limit.Block)
	}
	d := s.refused(limit.refill(1 - s.bucket.TokensAt(now)))
	d.Reset = s.untilFull(now)
	return d
}

// learn keeps a refusal of Redis, so that an outage pardons nobody whom this process has refused, and
// drops it when Redis lets the subject pass again.
func (n *insurance) learn(now time.Time, limit Limit, key string, d Decision) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !d.Allowed {
		n.subject(now, limit, key).told = now.Add(d.RetryAfter)
	} else if e, ok := n.subjects[key]; ok {
		e.Value.(*insured).told = time.Time{}
	}
}

// subject finds a subject or makes one, in the place of one that is not needed any more.
func (n *insurance) subject(now time.Time, limit Limit, key string) *insured {
	if e, ok := n.subjects[key]; ok {
		n.recent.MoveToFront(e)
		s := e.Value.(*insured)
		if s.limit != limit {
			s.limit, s.bucket = limit, limit.bucket()
		}
		return s
	}
	// Two go for each one that comes as long as there are idle ones, so after an outage the memory
	// shrinks to the subjects of now.
	for range 2 {
		if oldest := n.recent.Back(); oldest != nil && oldest.Value.(*insured).idle(now) {
			n.drop(oldest)
		}
	}
	for n.recent.Len() >= n.max {
		n.drop(n.recent.Back())
	}
	s := &insured{key: key, limit: limit, bucket: limit.bucket()}
	n.subjects[key] = n.recent.PushFront(s)
	return s
}

func (n *insurance) drop(e *list.Element) {
	delete(n.subjects, n.recent.Remove(e).(*insured).key)
}

func (n *insurance) len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.recent.Len()
}

func (n *insurance) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.subjects)
	n.recent.Init()
}

// shutUntil is the end of the subject's block; one in the past is none.
func (s *insured) shutUntil() time.Time {
	if s.told.After(s.blocked) {
		return s.told
	}
	return s.blocked
}

// idle says that a subject made anew would be the same.
func (s *insured) idle(now time.Time) bool {
	return !now.Before(s.shutUntil()) && s.bucket.TokensAt(now) >= float64(s.limit.Points)
}

func (s *insured) refused(wait time.Duration) Decision {
	wait = max(wait, time.Millisecond)
	return Decision{Limit: s.limit.Points, RetryAfter: wait, Reset: wait, Insured: true}
}

func (s *insured) untilFull(now time.Time) time.Duration {
	return s.limit.refill(float64(s.limit.Points) - s.bucket.TokensAt(now))
}

// bucket is full, and fills up within a window.
func (l Limit) bucket() *rate.Limiter {
	return rate.NewLimiter(rate.Limit(float64(l.Points)/l.Window.Seconds()), l.Points)
}

// refill is how long that many points take to come back.
func (l Limit) refill(points float64) time.Duration {
	return time.Duration(math.Ceil(max(points, 0) / float64(l.Points) * float64(l.Window)))
}
