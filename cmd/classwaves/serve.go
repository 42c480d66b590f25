package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/app"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// serveFlags are the flags of the server.
type serveFlags struct {
	listen, redis, database, envFile, log string
	proxies, origins, limits              []string
	secure, fleet                         bool
}

func serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Long: `Serves ClassWaves: the API, its WebSockets and three pages. Without --redis and --database both are
embedded and end with the process, and an account is made to log in with.

The flags of the migration (CW_CACHE_PREFIX_ENABLED and its like, see classwaves/.env.example) come from
the environment and from --env-file, which is read again on SIGHUP.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	flags.StringVar(&f.redis, "redis", "", "URL of Redis or Valkey (CW_REDIS_URL); none: embedded")
	flags.StringVar(&f.database, "database", "", "sqlite:PATH or postgres://... (CW_DATABASE_URL); none: embedded")
	flags.StringVar(&f.envFile, "env-file", "", "file of flags over the environment, read again on SIGHUP")
	flags.StringVar(&f.log, "log", "text", "text, json or none")
	flags.StringSliceVar(&f.proxies, "trusted-proxy", nil, "network whose X-Forwarded-For is believed, such as 10.0.0.0/8")
	flags.StringSliceVar(&f.origins, "origin", nil, "further origin of pages, such as https://teach.example.org")
	flags.StringArrayVar(&f.limits, "limit", nil, "limit of requests, NAME=POINTS/WINDOW/BLOCK with NAME general, auth, write or join, such as general=100/15m/15m")
	flags.BoolVar(&f.fleet, "fleet", false, "take the phases from the fleet's records, not from flags: rekey run and rekey advance move them")
	flags.BoolVar(&f.secure, "secure", false, "browsers come by HTTPS: cookies for it alone")
	return cmd
}

func serve(ctx context.Context, f serveFlags, out, errOut io.Writer) error {
	s, err := newSettings(f.envFile)
	if err != nil {
		return err
	}
	config, err := f.config(s, errOut)
	if err != nil {
		return err
	}
	// Before anything is open: whoever sends SIGHUP early must not end the process.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	a, err := app.Start(ctx, config)
	if err != nil {
		return err
	}
	if config.Database == "" {
		secret := rand.Text()
		if err := a.AddTeacher(ctx, "teacher@example.org", "A. Teacher", secret); err != nil {
			return closing(a, err)
		}
		fmt.Fprintf(out, "log in as teacher@example.org with the password %s\n", secret)
	}
	fmt.Fprintf(out, "ClassWaves (%s) is at %s\n", config.Environment, a.URL())
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(out, "stopping")
			return a.Close()
		case err := <-a.Failed():
			return closing(a, err)
		case <-hangups:
			reload(ctx, s, a.Reload, config.Logger)
		}
	}
}

// closing ends the server because of an error.
func closing(a *app.App, err error) error {
	if closed := a.Close(); closed != nil {
		return fmt.Errorf("%w; and when it was closed: %w", err, closed)
	}
	return err
}

// reload reads the flags again. What cannot be obeyed changes nothing: who waits for a gate looks the flags up again
// and again, and must find those that were obeyed.
func reload(ctx context.Context, s *settings, obey func(context.Context) error, log *slog.Logger) {
	before := s.file.Load()
	err := s.read()
	if err == nil {
		err = obey(ctx)
	}
	if wrong := (*phase.FlagError)(nil); errors.As(err, &wrong) { // of any other error some may have been obeyed
		s.file.Store(before)
	}
	if err != nil {
		log.Error("flags not reloaded; those of before hold on", "error", err)
		return
	}
	log.Info("flags reloaded")
}

func (f serveFlags) config(s *settings, errOut io.Writer) (c app.Config, err error) {
	c = app.Config{
		Environment: plan.Environment(s.lookup), Listen: f.listen,
		Redis: s.or(f.redis, "CW_REDIS_URL"), Database: s.or(f.database, "CW_DATABASE_URL"),
		Phases: rekey.WithFlags(s.lookup), TrustedOrigins: f.origins, Secure: f.secure,
	}
	if f.fleet {
		c.Phases = rekey.WithFleet(rekey.FleetConfig{Name: "classwaves"})
	}
	if c.Epochs, err = s.on("CW_CACHE_EPOCHS_ENABLED"); err != nil {
		return c, err
	}
	if c.SessionKeys, err = s.sessionKeys(); err != nil {
		return c, err
	}
	for _, text := range f.proxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return c, usage("--trusted-proxy %q is no network: write it as 10.0.0.0/8", text)
		}
		c.TrustedProxies = append(c.TrustedProxies, p)
	}
	for _, text := range f.limits {
		if err := setLimit(&c.Limits, text); err != nil {
			return c, err
		}
	}
	switch f.log {
	case "text":
		c.Logger = slog.New(slog.NewTextHandler(errOut, nil))
	case "json":
		c.Logger = slog.New(slog.NewJSONHandler(errOut, nil))
	case "none":
	default:
		return c, usage("--log must be text, json or none")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
