package control

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
)

// Scripts. All but acquire begin with the fence.
var (
	//go:embed lua/acquire.lua
	acquireText string
	//go:embed lua/fence.lua
	fenceText string
	//go:embed lua/renew.lua
	renewText string
	//go:embed lua/release.lua
	releaseText string

	acquireScript = redis.NewScript(acquireText)
	renewScript   = redis.NewScript(fenceText + renewText)
	releaseScript = redis.NewScript(fenceText + releaseText)
)

// Holder is who holds the lock. It is the lock's record.
type Holder struct {
	Until  int64  `json:"until"` // microseconds of the server's clock; the record's first field
	SinceN int64  `json:"since"`
	Gen    int64  `json:"gen"`
	Owner  string `json:"owner"`
	// Token tells two holders of one generation apart, which there can be after a failover.
	Token  string `json:"token"`
	Format int    `json:"format"`

	Since time.Time `json:"-"`
}

func parseHolder(text string) (h Holder, err error) {
	if text == "" {
		return h, nil
	}
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return h, fmt.Errorf("rekey: the record of the lock cannot be read: %w", err)
	}
	if h.Format > fleet.Format {
		return h, &fleet.FormatError{What: "the record of the lock", Have: h.Format}
	}
	h.Since = time.UnixMicro(h.SinceN)
	return h, nil
}

// lock is a lock that was acquired. Its mine is what the record says behind its time, by which the scripts
// know who writes.
type lock struct {
	store  *fleet.Store
	holder Holder
	mine   string
	term   time.Duration
	before func(write string) error

	stop func()
	work sync.WaitGroup

	mu   sync.Mutex
	lost error // the fence, once it was met
}

// acquire takes the lock. lose is called once, when somebody else is found to have it.
func acquire(ctx context.Context, store *fleet.Store, o Options, lose func(error)) (*lock, error) {
	rest, err := json.Marshal(struct {
		Owner  string `json:"owner"`
		Token  string `json:"token"`
		Format int    `json:"format"`
	}{o.Owner, rand.Text(), fleet.Format})
	if err != nil {
		return nil, fmt.Errorf("rekey: encode the record of the lock: %w", err)
	}
	mode, what := "take", "lock"
	if o.TakeOver {
		mode, what = "over", "take-over"
	}
	if err := o.before("acquire"); err != nil {
		return nil, err
	}
	keys := store.Keys()
	args := append([]any{mode, o.Term.Microseconds(), string(rest[1:])}, entryArgs(entry{What: what, By: o.Owner})...)
	reply, err := acquireScript.Run(ctx, store.Client(), []string{
		keys.Lock(), keys.Gen(), keys.Phase(), keys.Fleet(), keys.Conns(sweepsID), keys.Conns(unburiedID), keys.Audit(),
	}, args...).Slice()
	if err != nil {
		return nil, fmt.Errorf("rekey: take the lock: %w", err)
	}
	done, text, err := parseReply(reply)
	if err != nil {
		return nil, err
	}
	if done == 0 {
		holder, err := parseHolder(text)
		if err != nil {
			return nil, err
		}
		return nil, &LockedError{holder}
	}
	holder, err := parseHolder(`{"until":0,` + text)
	if err != nil {
		return nil, err
	}
	l := &lock{store: store, holder: holder, mine: text, term: o.Term, before: o.before}
	l.keep(lose)
	return l, nil
}

var errReply = errors.New("rekey: the server's reply to a script of the controller cannot be read")

// parseReply reads what all scripts give: a number and a text.
func parseReply(reply []any) (done int64, text string, err error) {
	if len(reply) < 2 {
		return 0, "", errReply
	}
	done, isInt := reply[0].(int64)
	text, isText := reply[1].(string)
	if !isInt || !isText {
		return 0, "", errReply
	}
	return done, text, nil
}

// keep renews the lock until it is released.
func (l *lock) keep(lose func(error)) {
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.work.Go(func() {
		ticker := time.NewTicker(min(l.term/4, time.Second/2))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			err := l.renew(ctx)
			if err := l.fenced(); err != nil {
				lose(err)
				return
			}
			_ = err // the lock is ours until somebody else takes it; the next tick tries again
		}
	})
}

func (l *lock) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.term)
	defer cancel()
	_, _, err := l.run(ctx, "renew", renewScript, l.store.Client(), []string{l.store.Keys().Lock()}, l.term.Microseconds())
	return err
}

// fenced is the fence, once it was met.
func (l *lock) fenced() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// run runs a script that begins with the fence: keys[0] is the lock.
func (l *lock) run(ctx context.Context, write string, script *redis.Script, on redis.Scripter, keys []string, args ...any) (int64, string, error) {
	if err := l.fenced(); err != nil {
		return 0, "", err
	}
	if err := l.before(write); err != nil {
		return 0, "", err
	}
	reply, err := script.Run(ctx, on, keys, append([]any{l.mine}, args...)...).Slice()
	if err != nil {
		return 0, "", fmt.Errorf("rekey: %s: %w", write, err)
	}
	done, text, err := parseReply(reply)
	if err != nil || done >= 0 {
		return done, text, err
	}
	holder, err := parseHolder(text)
	if err != nil {
		return 0, "", err
	}
	if holder.Owner == "" { // the generation tells whether somebody has had it since
		holder.Gen, err = l.store.Client().Get(ctx, l.store.Keys().Gen()).Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return 0, "", fmt.Errorf("rekey: read the generation of the lock: %w", err)
		}
	}
	return 0, "", l.meet(holder)
}

// meet notes that the lock is somebody else's, or that somebody had it who has given it up.
func (l *lock) meet(holder Holder) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil {
		l.lost = &FencedError{holder}
		if holder.Gen < l.holder.Gen || holder.Owner == "" && holder.Gen == l.holder.Gen {
			l.lost = fmt.Errorf("%w: the lock's record is gone or older than this controller's", fleet.ErrRestore)
		}
	}
	return l.lost
}

// end stops renewing, and gives the lock up if it is still ours.
func (l *lock) end(release bool) error {
	l.stop()
	l.work.Wait()
	if !release || l.fenced() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.term)
	defer cancel()
	_, _, err := l.run(ctx, "release", releaseScript, l.store.Client(), []string{l.store.Keys().Lock()})
	if errors.As(err, new(*FencedError)) || errors.Is(err, fleet.ErrRestore) {
		return nil // it is not ours to give up
	}
	return err
}
