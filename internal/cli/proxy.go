package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// proxyFlags is what `rekey proxy` is told.
type proxyFlags struct {
	listen            []string
	phases            string
	flagsFile         string
	name              string
	cert, key, client string
	plaintext         bool
	proxyProtocol     bool
	socketMode        string
	admin, token      string
	access            string
	upstreams         string
	drain             time.Duration
	limits            proxy.Limits
	check             bool
}

// newProxy is `rekey proxy`.
func newProxy(a *app) *cobra.Command {
	var f proxyFlags
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Serve clients of any language, and follow the plan behind them",
		Long: `Listens as a Redis server in front of the plan's server: clients connect to it and
change nothing but the port. Every client logs in with its own AUTH, and sees what
the bare server would answer. Clients of the same user share a connection to the
server until one of them needs its own (MULTI, SELECT, BLPOP, SUBSCRIBE ...).

  --phases fleet   join the fleet as one instance for all clients (default)
  --phases flags   the flags of the environment, or of --flags-file
  --phases dual    pin every rule that has this phase to it; the others to legacy

It listens on loopback and on unix sockets. On any other address it wants TLS
(--tls-cert, --tls-key), or --plaintext where you trust the network between.

SIGTERM ends it: no client is taken any more, what was read is answered, each
connection is closed behind its last reply. SIGHUP reads the certificates of both
sides, the flags file and the plan again, and opens the access log anew; of the
plan server.tls, soak and audit may change, anything else takes a restart and is
named in the log.`,
		Example: `  rekey proxy --listen 127.0.0.1:6380
  rekey proxy --listen unix:/run/rekey/redis.sock --socket-mode 0660 --admin 127.0.0.1:9121
  rekey proxy --listen tls://0.0.0.0:6380 --tls-cert cert.pem --tls-key key.pem
  rekey proxy --phases legacy --listen 127.0.0.1:6380
  rekey proxy --check`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runProxy(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringSliceVar(&f.listen, "listen", []string{"127.0.0.1:6380"}, "HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:PATH; may be repeated")
	flags.StringVar(&f.phases, "phases", "fleet", "fleet, flags or a phase")
	flags.StringVar(&f.flagsFile, "flags-file", "", "with --phases flags: KEY=VALUE lines in place of the environment's flags; read again on SIGHUP")
	flags.StringVar(&f.name, "name", "rekey-proxy", "what operators see of it in the fleet")
	flags.StringVar(&f.cert, "tls-cert", "", "the proxy's certificate, in PEM")
	flags.StringVar(&f.key, "tls-key", "", "its key")
	flags.StringVar(&f.client, "tls-client-ca", "", "authorities of clients' certificates, which are wanted then")
	flags.BoolVar(&f.plaintext, "plaintext", false, "listen without TLS on any address: whoever is on the network between reads along")
	flags.BoolVar(&f.proxyProtocol, "proxy-protocol", false, "want a header of PROXY protocol version 2 from every client")
	flags.StringVar(&f.socketMode, "socket-mode", "0600", "mode of unix sockets")
	flags.StringVar(&f.admin, "admin", "", "HOST:PORT for /metrics, /healthz, /readyz and, on loopback, /debug/pprof/")
	flags.StringVar(&f.token, "admin-token-file", "", "file with the token that /metrics wants; other than on loopback it must")
	flags.StringVar(&f.access, "access-log", "", "file for a line of JSON for each client that has left; - is standard output")
	flags.StringVar(&f.upstreams, "upstreams", proxy.UpstreamsShared.String(), "connections to the server: shared (until a client needs its own) or own")
	flags.DurationVar(&f.drain, "drain", 25*time.Second, "how long commands may take at the end")
	flags.IntVar(&f.limits.Clients, "max-clients", 10_000, "clients at a time")
	flags.IntVar(&f.limits.Request, "max-request", 512<<20, "bytes of one command")
	flags.IntVar(&f.limits.Memory, "max-memory", 1<<30, "bytes of the buffers of all clients, beside 64 KiB for each")
	flags.DurationVar(&f.limits.Idle, "idle", 0, "close a client that sends nothing for so long; 0: never")
	flags.DurationVar(&f.limits.Begun, "unfinished", 5*time.Minute, "close a client that does not finish a command for so long")
	flags.DurationVar(&f.limits.Slow, "slow", time.Minute, "close a client that takes no reply for so long")
	flags.BoolVar(&f.check, "check", false, "look for what is wrong with all of this and the server, and end")
	completeFlag(cmd, "phases", a.completeProxyPhases)
	return cmd
}

// completeProxyPhases offers what --phases takes.
func (a *app) completeProxyPhases(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	phases, directive := a.completePhases(nil)(nil, nil, "")
	return append([]cobra.Completion{"fleet", "flags"}, phases...), directive
}

// runProxy runs the proxy until ctx ends.
func (a *app) runProxy(ctx context.Context, f proxyFlags) error {
	p, err := a.loadProxyPlan()
	if err != nil {
		return err
	}
	access := &logFile{path: f.access, out: a.stdout}
	o, err := a.proxyOptions(f, p, access)
	if err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return misused("rekey proxy --help", "%w", err)
	}
	upstream, err := proxy.OpenUpstream(p.Server)
	if err != nil {
		return misused("check server: in the plan", "%w", err)
	}
	if f.check {
		return a.checkProxy(ctx, o, upstream)
	}
	if err := access.reopen(); err != nil {
		return misused("--access-log FILE, in a directory that this user may write", "%w", err)
	}
	defer func() { _ = access.close() }()                    // every line was written at once
	if f.phases != "fleet" && soonClustered(ctx, p.Server) { // the fleet's records do not come about in one
		return errClustered()
	}
	s, err := proxy.Open(ctx, o)
	if err != nil {
		return proxyFailed(p, err)
	}
	if err := notifyReady(a.lookup); err != nil {
		o.Log.Warn("who waits for the proxy to be ready is not told", "error", err)
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	var reloading sync.WaitGroup
	reloading.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				if err := a.reloadProxy(ctx, s, access); err != nil {
					o.Log.Error("reload", "error", err)
					continue
				}
				o.Log.Info("reloaded")
			}
		}
	})
	err = s.Run(ctx)
	reloading.Wait()
	if err != nil {
		return failed("a longer --drain, or see the log above", "%w", err)
	}
	return nil
}

// proxyFailed explains why a proxy did not begin.
func proxyFailed(p *plan.Plan, err error) error {
	var planned *plan.Error
	var flags *phase.FlagError
	var listener *proxy.ListenError
	switch {
	case errors.As(err, &planned), errors.As(err, &flags):
		return err
	case saysClustered(err):
		return errClustered()
	case errors.As(err, &listener) && listener.Admin:
		return failed("--admin with another address", "%w", err)
	case errors.As(err, &listener):
		return failed("--listen with another address", "%w", err)
	}
	return failed(fmt.Sprintf("rekey status -f %s; --phases legacy serves without the fleet's records, where nothing moves", p.File), "%w", err)
}

// loadProxyPlan reads the plan, with the server that the command line names.
func (a *app) loadProxyPlan() (*plan.Plan, error) {
	p, err := a.loadPlan()
	if err != nil {
		return nil, err
	}
	named := *p
	if named.Server, err = a.serverOf(p); err != nil {
		return nil, err
	}
	return &named, nil
}

// reloadProxy is what SIGHUP does. The flags come last: they are in force when no command of before is under way, and a
// client may hold that up.
func (a *app) reloadProxy(ctx context.Context, s *proxy.Service, access *logFile) error {
	err := errors.Join(s.ReloadCertificate(), access.reopen())
	p, wrong := a.loadProxyPlan()
	if wrong == nil {
		wrong = s.Reload(ctx, p)
	}
	return errors.Join(err, wrong)
}

// bounded refuses limits that are none: package proxy would take its own in their place without a word.
func (f *proxyFlags) bounded() error {
	for _, b := range []struct {
		flag string
		is   bool
		try  string
	}{
		{"drain", f.drain > 0, "1s, to cut what is under way soon"},
		{"max-clients", f.limits.Clients > 0, "10000"},
		{"max-request", f.limits.Request > 0, "536870912"},
		{"max-memory", f.limits.Memory > 0, "1073741824"},
		{"unfinished", f.limits.Begun > 0, "5m"},
		{"slow", f.limits.Slow > 0, "1m"},
		{"idle", f.limits.Idle >= 0, "0, for never"},
	} {
		if !b.is {
			return misused("--"+b.flag+" "+b.try, "--%s is out of range", b.flag)
		}
	}
	return nil
}

// proxyOptions turns the flags into options.
func (a *app) proxyOptions(f proxyFlags, p *plan.Plan, access *logFile) (o proxy.Options, err error) {
	o = proxy.Options{Plan: p, Limits: f.limits, Drain: f.drain, Log: slog.New(slog.NewJSONHandler(a.stderr, nil))}
	if f.access != "" {
		o.Access = slog.New(slog.NewJSONHandler(access, nil))
	}
	if o.Phases, o.Flags, err = a.proxyPhases(f, p); err != nil {
		return o, err
	}
	if o.Upstreams, err = proxy.ParseUpstreams(f.upstreams); err != nil {
		return o, misused("--upstreams shared or --upstreams own", "%w", err)
	}
	if err := f.bounded(); err != nil {
		return o, err
	}
	mode, err := strconv.ParseUint(f.socketMode, 8, 32)
	if err != nil || mode > 0o777 {
		return o, misused("--socket-mode 0660", "--socket-mode %s is no mode", f.socketMode)
	}
	if f.cert != "" || f.key != "" || f.client != "" {
		o.Certificate = &proxy.Certificate{Cert: f.cert, Key: f.key, ClientCA: f.client}
	}
	for _, addr := range f.listen {
		o.Listen = append(o.Listen, proxy.Listen{
			Address: addr, Plaintext: f.plaintext, ProxyProtocol: f.proxyProtocol, SocketMode: fs.FileMode(mode),
		})
	}
	o.Admin.Address = f.admin
	if f.token != "" {
		text, err := os.ReadFile(f.token)
		if err != nil {
			return o, misused("--admin-token-file FILE", "the token cannot be read: %w", err)
		}
		if o.Admin.Token = strings.TrimSpace(string(text)); o.Admin.Token == "" {
			return o, misused("openssl rand -hex 32 > "+f.token, "%s holds no token", f.token)
		}
	}
	return o, nil
}

// proxyPhases is where the phases come from, and what reads them again; nil where nothing does.
func (a *app) proxyPhases(f proxyFlags, p *plan.Plan) (from rekey.Option, again func() error, err error) {
	if f.flagsFile != "" && f.phases != "flags" {
		return nil, nil, misused("--phases flags", "--flags-file goes with --phases flags")
	}
	switch f.phases {
	case "fleet":
		return rekey.WithFleet(rekey.FleetConfig{Name: f.name, Version: buildVersion().Version}), nil, nil
	case "flags":
		if f.flagsFile == "" {
			return rekey.WithFlags(a.lookup), func() error { return nil }, nil
		}
		file, err := openFlags(f.flagsFile)
		if err != nil {
			return nil, nil, misused("rekey flags --phase dual > "+f.flagsFile, "the flags cannot be read: %w", err)
		}
		return rekey.WithFlags(file.lookup), func() error { return file.reload(p) }, nil
	}
	pinned, err := phase.Parse(f.phases)
	if err != nil {
		return nil, nil, misused("--phases fleet, --phases flags or the name of a phase", "--phases %s: %w", f.phases, err)
	}
	phases := make(map[string]phase.Phase)
	for _, rule := range p.Rules {
		if rule.Strategy.Has(pinned) {
			phases[rule.Name] = pinned
		}
	}
	if len(phases) == 0 {
		return nil, nil, misused("rekey plan", "no rule of %s has the phase %s", p.File, pinned)
	}
	return rekey.WithPhases(phases), nil, nil
}

// checkProxy looks whether the server is there, and says what would be done.
func (a *app) checkProxy(ctx context.Context, o proxy.Options, upstream *proxy.Upstream) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := upstream.Ping(ctx); err != nil {
		return failed(pingLine(o.Plan.Server.URL)+", from this host", "%w", err)
	}
	if clustered(ctx, o.Plan.Server) {
		return errClustered()
	}
	var listen []string
	for _, l := range o.Listen {
		listen = append(listen, l.Address)
	}
	if a.json {
		return a.printJSON(struct {
			Type      string   `json:"type"`
			Plan      string   `json:"plan"`
			Server    string   `json:"server"`
			Listen    []string `json:"listen"`
			Upstreams string   `json:"upstreams"`
			Rules     int      `json:"rules"`
		}{"check", o.Plan.File, o.Plan.Server.URL.String(), listen, o.Upstreams.String(), len(o.Plan.Rules)})
	}
	a.printf("%s\nThe server answers. Clients would be served on %s, with %s connections to the server.\n", o.Plan, strings.Join(listen, ", "), o.Upstreams)
	return nil
}

// logFile is a file that is opened anew when its name has been given to another one.
type logFile struct {
	path string    // "": nothing is written, "-": to out
	out  io.Writer // standard output

	mu   sync.Mutex
	file *os.File
}

func (l *logFile) reopen() error {
	if l.path == "" || l.path == "-" {
		return nil
	}
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("open the access log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // every line was written at once
	}
	l.file = file
	return nil
}

// Write writes a line.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return l.out.Write(p)
	}
	return l.file.Write(p)
}

func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
