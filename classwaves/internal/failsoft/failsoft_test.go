package failsoft_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/failsoft"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestOutageIsToldOnce(t *testing.T) {
	var logged bytes.Buffer
	o := failsoft.Outage{Service: "test", Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	all := func(f func()) {
		var work sync.WaitGroup
		for range 50 {
			work.Go(f)
		}
		work.Wait()
	}
	o.Worked() // nothing has ended
	all(func() { o.Failed(errors.New("refused")) })
	if !o.Out() {
		t.Error("not out after 50 failures")
	}
	all(o.Worked)
	if o.Out() || o.Begun() != 1 || o.Ended() != 1 || o.Failures() != 50 {
		t.Errorf("out %v, begun %d, ended %d, failures %d", o.Out(), o.Begun(), o.Ended(), o.Failures())
	}
	if a, b := strings.Count(logged.String(), "is unavailable"), strings.Count(logged.String(), "answers again"); a != 1 || b != 1 {
		t.Errorf("logged %d beginnings and %d ends:\n%s", a, b, &logged)
	}
}

func TestSaw(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx context.Context
		err error
		out bool // afterwards, of an outage that had begun, and of one that had not
		new bool
	}{
		"answer":        {t.Context(), nil, false, false},
		"nil reply":     {t.Context(), redis.Nil, false, false},
		"error":         {t.Context(), errors.New("refused"), true, true},
		"timeout":       {t.Context(), context.DeadlineExceeded, true, true},
		"caller gone":   {gone, context.Canceled, true, false},
		"answer, gone":  {gone, nil, false, false},
		"another error": {gone, errors.New("refused"), true, false},
	} {
		var up, out failsoft.Outage
		out.Failed(errors.New("before"))
		up.Saw(c.ctx, c.err)
		out.Saw(c.ctx, c.err)
		if up.Out() != c.new || out.Out() != c.out {
			t.Errorf("%s: out %v where Redis was up, %v where it was out", name, up.Out(), out.Out())
		}
	}
}

// A client of any kind gives up when a server hangs: with the timeouts of go-redis alone a command
// would wait 20 s.
func TestWithin(t *testing.T) {
	s := redistest.Start(t)
	address := []string{s.Addr()}
	for name, c := range map[string]redis.UniversalClient{
		"single": s.Client(),
		"other":  redis.NewUniversalClient(&redis.UniversalOptions{Addrs: address, ContextTimeoutEnabled: true}),
		"ring":   redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": s.Addr()}, ContextTimeoutEnabled: true, HeartbeatFrequency: time.Hour}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() { _ = c.Close() }) // a second time for some
			var o failsoft.Outage
			quick := failsoft.Within(20*time.Millisecond, c, &o)
			try := func() error {
				ctx, rdb, cancel := quick.For(t.Context())
				defer cancel()
				err := rdb.Get(ctx, "k").Err()
				o.Saw(t.Context(), err)
				return err
			}
			redistest.WaitFor(t, time.Minute, func() bool { return errors.Is(try(), redis.Nil) })
			s.Pause()
			answered := make(chan error)
			go func() {
				answered <- try()
				answered <- try()
			}()
			for range 2 {
				if err := <-answered; err == nil || errors.Is(err, redis.Nil) {
					t.Errorf("a server that hangs answered: %v", err)
				}
			}
			s.Continue()
			redistest.WaitFor(t, time.Minute, func() bool { return errors.Is(try(), redis.Nil) })
			if o.Out() {
				t.Error("the outage has not ended")
			}
		})
	}
}
