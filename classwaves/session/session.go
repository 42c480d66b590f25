package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/ttl"
)

// CookieName is the name of the session's cookie.
const CookieName = "cw_session"

var (
	// ErrNone: the request has no session. It never had one, or the session was ended or has expired.
	// To a client: 401.
	ErrNone = errors.New("session: none")
	// ErrFingerprint: the cookie comes from another user agent or network than it was given to. The
	// request is refused, the session lives on. To a client: 401, and no more than for ErrNone.
	ErrFingerprint = errors.New("session: the cookie was given to another client")
	// ErrMiddleware: the context does not come from [Sessions.Middleware].
	ErrMiddleware = errors.New("session: the request has not passed the Middleware")
	// ErrConfig is wrapped by what New and ParseKey refuse.
	ErrConfig = errors.New("session: configuration")
)

// Session is a teacher's login session.
type Session struct {
	ID           string // 43 characters; a secret: whoever has it is the teacher
	TeacherID    string
	CreatedAt    time.Time
	LastActivity time.Time // moves at most once per Config.RefreshEvery
}

// Config is what [New] wants to know.
type Config struct {
	// Redis is the cache. Required. Make it with ContextTimeoutEnabled. Of a *redis.Client without
	// it a copy is used whose reads end with the CacheTimeout, and which has none of its hooks.
	Redis redis.UniversalClient
	// Backing is the database. Required; [NewMemory] is one for a single process.
	Backing Backing
	// Keys are the key ring: the first seals, each opens. There is no default. A key that is taken
	// out of the ring ends what only it opens; leave it in for the AbsoluteLimit after the change. So does one
	// that a process does not have yet: give it to all of them before it comes first anywhere.
	Keys []Key
	// Secure restricts the cookie to HTTPS. Default false, for loopback; set it in production.
	Secure bool
	// IdleLimit ends a session that was not used for so long. Default 4 h.
	IdleLimit time.Duration
	// AbsoluteLimit ends a session so long after its login. Default 24 h.
	AbsoluteLimit time.Duration
	// MaxPerTeacher is how many sessions a teacher may have; a login beyond it ends the oldest.
	// Default 3.
	MaxPerTeacher int
	// RefreshEvery is how far LastActivity may lag behind. Default 1 min; less than IdleLimit.
	RefreshEvery time.Duration
	// Beat is the pause between two rounds of Run. Default 1 s.
	Beat time.Duration
	// CacheTimeout is how long Redis has for one answer. Default 1 s.
	CacheTimeout time.Duration
	// DatabaseTimeout is how long the database has to say whether a session is alive. Default 500 ms.
	DatabaseTimeout time.Duration
	// ClientAddr is the client's network address, such as ratelimit.ClientAddr's behind proxies.
	// Default: the host of RemoteAddr.
	ClientAddr func(*http.Request) string
	// Ended is told the ids of sessions that this process has ended: logged out, or displaced by a
	// login. For what hangs on a session: CSRF tokens, open connections. Default: nobody.
	Ended func(ctx context.Context, sessionIDs []string)
	// NoJitter keeps lifetimes in Redis exact, for tests.
	NoJitter bool
	// Now is the clock of all limits. Default time.Now.
	Now func() time.Time
	// Logger is told when an outage begins and ends. Default: nobody.
	Logger *slog.Logger
}

// Sessions are the login sessions of teachers. It is safe for concurrent use, and a
// prometheus.Collector.
type Sessions struct {
	cfg     Config
	scs     *scs.SessionManager
	ring    *ring
	cache   *cache
	db      *database
	health  *health
	queue   *queue
	metrics *metrics
	settler settler
	turns   turns

	closing   chan struct{}
	closeOnce sync.Once
	mu        sync.Mutex // guards closed, and the adding to runs
	closed    bool
	runs      sync.WaitGroup
}

// New checks the configuration. It opens nothing and starts nothing; see [Sessions.Run].
func New(cfg Config) (*Sessions, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	keyRing, err := newRing(cfg.Keys)
	if err != nil {
		return nil, err
	}
	s := &Sessions{cfg: cfg, ring: keyRing, queue: newQueue(), metrics: newMetrics(), closing: make(chan struct{})}
	s.health = newHealth(cfg.Logger)
	s.cache = newCache(&s.cfg, keyRing, s.health)
	s.db = newDatabase(&s.cfg)
	s.turns = newTurns()
	s.settler = settler{seen: map[string]sighting{}, linger: clearLinger}
	// Not scs.New: it starts a store in memory whose goroutine nobody can stop.
	s.scs = &scs.SessionManager{
		Lifetime: cfg.AbsoluteLimit,
		Store:    (*store)(s),
		Codec:    codec{},
		Cookie: scs.SessionCookie{
			Name: CookieName, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: cfg.Secure, Persist: true,
		},
	}
	return s, nil
}

// complete fills in the defaults and looks for what does not fit together.
func (c *Config) complete() error {
	for d, value := range map[*time.Duration]time.Duration{
		&c.IdleLimit: 4 * time.Hour, &c.AbsoluteLimit: 24 * time.Hour, &c.RefreshEvery: time.Minute,
		&c.Beat: time.Second, &c.CacheTimeout: time.Second, &c.DatabaseTimeout: 500 * time.Millisecond,
	} {
		if *d == 0 {
			*d = value
		}
		if *d < 0 {
			return fmt.Errorf("%w: a negative duration", ErrConfig)
		}
	}
	if c.MaxPerTeacher == 0 {
		c.MaxPerTeacher = 3
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.ClientAddr == nil {
		c.ClientAddr = remoteHost
	}
	if c.Ended == nil {
		c.Ended = func(context.Context, []string) {}
	}
	switch {
	case c.Redis == nil:
		return fmt.Errorf("%w: no Redis", ErrConfig)
	case c.Backing == nil:
		return fmt.Errorf("%w: no Backing", ErrConfig)
	case c.MaxPerTeacher < 0:
		return fmt.Errorf("%w: MaxPerTeacher is negative", ErrConfig)
	case c.RefreshEvery >= c.IdleLimit:
		return fmt.Errorf("%w: RefreshEvery must be less than IdleLimit, or sessions in use would end", ErrConfig)
	case c.IdleLimit+c.RefreshEvery > ttl.SecureSession/2:
		return fmt.Errorf("%w: IdleLimit must not exceed half of a session's lifetime in Redis, %v", ErrConfig, ttl.SecureSession)
	}
	return nil
}

// lifetime is a TTL of the table, jittered unless tests said no.
func (c *Config) lifetime(d time.Duration) time.Duration {
	if c.NoJitter {
		return d
	}
	return ttl.Jitter(d)
}

// Close ends Run and waits for it. It may be called more than once.
func (s *Sessions) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.closeOnce.Do(func() { close(s.closing) })
	s.runs.Wait()
	return nil
}
