package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/plan"
)

// Options is a whole proxy, as rekey proxy runs it.
type Options struct {
	Plan *plan.Plan
	// Phases is where the phases come from: one option of package rekey.
	Phases rekey.Option
	// Flags reads again what Phases looks its flags up in, or keeps it and says why. Nil where they do not come from flags.
	Flags  func() error
	Listen []Listen
	// Certificate is nil without TLS.
	Certificate *Certificate
	Admin       Admin
	Upstreams   Upstreams
	Limits      Limits
	// Drain is how long commands may take at the end. Default 25s, which is less than the 30s after
	// which an orchestrator kills.
	Drain       time.Duration
	Log, Access *slog.Logger
}

const defaultDrain = 25 * time.Second

// Service is a proxy with its listeners, its instance of the fleet and its admin listener.
type Service struct {
	o         Options
	upstream  *Upstream
	rekey     *rekey.Rekey
	proxy     *Proxy
	listeners []net.Listener
	admin     net.Listener // nil without one
	ending    atomic.Bool
	primary   string // that Sentinel named last; of who follows it
}

// Check looks for what is wrong with options, without opening anything but their files.
func (o *Options) Check() error {
	if len(o.Listen) == 0 {
		return errors.New("rekey: a proxy listens somewhere")
	}
	if o.Certificate != nil {
		if err := o.Certificate.Load(); err != nil {
			return err
		}
	}
	for _, l := range o.Listen {
		if err := l.Check(o.Certificate != nil); err != nil {
			return err
		}
	}
	return o.Admin.Check()
}

// Open joins the fleet and opens the listeners. [Service.Run] ends it.
func Open(ctx context.Context, o Options) (*Service, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Drain <= 0 {
		o.Drain = defaultDrain
	}
	upstream, err := OpenUpstream(o.Plan.Server)
	if err != nil {
		return nil, err
	}
	s := &Service{o: o, upstream: upstream}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.deaf())
	}
	if s.rekey, err = rekey.Open(ctx, o.Plan, o.Phases, rekey.WithLogger(o.Log)); err != nil {
		return nil, errors.Join(err, s.deaf())
	}
	dial := s.rekey.Dialer(upstream.Base)
	s.proxy = New(Config{
		Upstreams: o.Upstreams, Limits: o.Limits, Log: o.Log, Access: o.Access,
		Dial: func(ctx context.Context) (*intercept.Conn, string, error) { return upstream.Dial(ctx, dial) },
	})
	return s, nil
}

// ListenError says that a listener cannot be opened: one for clients, or the admin's.
type ListenError struct {
	Admin bool
	Err   error
}

func (e *ListenError) Error() string { return e.Err.Error() }

// Unwrap is the reason.
func (e *ListenError) Unwrap() error { return e.Err }

// listen opens the listeners.
func (s *Service) listen() error {
	for _, l := range s.o.Listen {
		var config *tls.Config
		if s.o.Certificate != nil {
			config = s.o.Certificate.Config()
		}
		listener, err := l.Open(config)
		if err != nil {
			return &ListenError{Err: err}
		}
		s.listeners = append(s.listeners, listener)
	}
	if s.o.Admin.Address == "" {
		return nil
	}
	admin, err := net.Listen("tcp", s.o.Admin.Address)
	if err != nil {
		return &ListenError{Admin: true, Err: fmt.Errorf("rekey: listen for the admin: %w", err)}
	}
	s.admin = admin
	return nil
}

// deaf closes the listeners of a service that does not come about.
func (s *Service) deaf() (err error) {
	for _, l := range s.listeners {
		err = errors.Join(err, l.Close())
	}
	if s.admin != nil {
		err = errors.Join(err, s.admin.Close())
	}
	return err
}

// Addrs is where the service listens for clients, in the order of its options.
func (s *Service) Addrs() (out []string) {
	for _, l := range s.listeners {
		out = append(out, l.Addr().String())
	}
	return out
}

// AdminAddr is where the admin listens, "" without one.
func (s *Service) AdminAddr() string {
	if s.admin == nil {
		return ""
	}
	return s.admin.Addr().String()
}

// Run serves until ctx ends, then answers what was read, closes the clients and leaves the fleet.
func (s *Service) Run(ctx context.Context) error {
	// What serves lives longer than ctx: to the end of the draining.
	group, serving := errgroup.WithContext(context.WithoutCancel(ctx))
	following, unfollow := context.WithCancel(serving)
	defer unfollow()
	group.Go(func() error { s.upstream.Follow(following, s.told); return nil })
	for _, l := range s.listeners {
		group.Go(func() error { return s.proxy.Serve(l) })
		s.o.Log.Info("listening", "address", l.Addr().String())
	}
	var admin *http.Server
	if s.admin != nil {
		admin = newAdminServer(s.o.Admin.handler(s.proxy, s.rekey, s.ready))
		group.Go(func() error {
			if err := admin.Serve(s.admin); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("rekey: admin: %w", err)
			}
			return nil
		})
		s.o.Log.Info("admin", "address", s.admin.Addr().String())
	}
	select {
	case <-ctx.Done():
		s.o.Log.Info("draining", "clients", s.proxy.Clients(), "within", s.o.Drain.String())
	case <-serving.Done(): // a listener failed
	}
	return errors.Join(s.drain(admin, unfollow), group.Wait())
}

// drain ends the service.
func (s *Service) drain(admin *http.Server, unfollow func()) error {
	s.ending.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Drain)
	defer cancel()
	err := errors.Join(s.proxy.Shutdown(ctx), s.rekey.Close())
	unfollow()
	if admin != nil {
		err = errors.Join(err, admin.Close())
	}
	s.o.Log.Info("ended")
	return err
}

// told is called with the primary, also where it is the same.
func (s *Service) told(primary string) {
	if s.primary != primary {
		s.primary = primary
		s.o.Log.Info("primary", "address", primary)
	}
	s.proxy.Moved(primary)
}

// readyWithin bounds how long the server may take to show that it is there.
const readyWithin = 2 * time.Second

// ready says why the proxy should get no clients now, nil if it should.
func (s *Service) ready(ctx context.Context) error {
	if s.ending.Load() {
		return ErrDraining
	}
	if age := s.rekey.Stats().LeaseAge; age > s.o.Plan.Fleet.Lease-s.o.Plan.Fleet.Margin {
		return fmt.Errorf("rekey: the fleet's lease is %s old", age.Round(time.Second))
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	return s.upstream.Ping(ctx)
}

// ErrRestart says that a plan differs in what a running proxy cannot change.
var ErrRestart = errors.New("rekey: the plan on disk differs in what takes a restart of the proxy")

// ReloadCertificate reads the proxy's own certificate again. It is not the plan's: it expires, whatever is wrong
// with that. Open connections stay as they are.
func (s *Service) ReloadCertificate() error {
	if s.o.Certificate == nil {
		return nil
	}
	return s.o.Certificate.Load()
}

// Reload takes what of a plan may change while the proxy runs: server.tls with its certificates, soak and
// audit; and the flags. Anything else of the plan that differs is named by the error, which wraps
// [ErrRestart], and stays as it was, as the flags do then. Open connections stay as they are.
func (s *Service) Reload(ctx context.Context, p *plan.Plan) error {
	if d := differences(s.o.Plan, p); len(d) > 0 {
		return fmt.Errorf("%w: %s", ErrRestart, strings.Join(d, ", "))
	}
	err := s.upstream.Reload(p.Server)
	if s.o.Flags == nil {
		return err
	}
	if failed := s.o.Flags(); failed != nil {
		return errors.Join(err, failed)
	}
	return errors.Join(err, s.rekey.ReloadFlags(ctx))
}

// differences names what a running proxy cannot change.
func differences(a, b *plan.Plan) (out []string) {
	for what, same := range map[string]bool{
		"environment": a.Environment == b.Environment, "control_prefix": a.ControlPrefix() == b.ControlPrefix(),
		"databases": slices.Equal(a.Databases, b.Databases), "fleet": a.Fleet == b.Fleet,
		"server.url": a.Server.URL == b.Server.URL, "server.sentinel": slices.Equal(a.Server.Sentinel, b.Server.Sentinel),
		"server.evicts": equalBool(a.Server.Evicts, b.Server.Evicts), "rules": sameRules(a, b),
	} {
		if !same {
			out = append(out, what)
		}
	}
	slices.Sort(out)
	return out
}

func equalBool(a, b *bool) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

func sameRules(a, b *plan.Plan) bool {
	if len(a.Rules) != len(b.Rules) {
		return false
	}
	for i := range a.Rules {
		if a.Rules[i].Name != b.Rules[i].Name || a.Rules[i].Flags != b.Rules[i].Flags || a.Hash(i) != b.Hash(i) {
			return false
		}
	}
	return true
}
