package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/classwaves/load"
)

// loadPassword names the variable with the password of the accounts; without it standard input has it.
const loadPassword = "CW_LOAD_PASSWORD"

// errViolated ends a load with exit code 1.
var errViolated = errors.New("the server broke a promise: see the violations above")

func loadCommand() *cobra.Command {
	var c load.Config
	var probes []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Play teachers and students against a server, and check every answer",
		Long: `Plays teachers and students against a running server or fleet, through HTTP and WebSockets, and
compares every answer with what it has done: no login may be lost or revived, no access code lead
elsewhere, no figure be miscounted, no limit be given twice. Exit code 1 says that one was.

Make the accounts first, with the password that the load is given on standard input or in
` + loadPassword + `:

  classwaves teacher add --database URL --count 4 --email 'load-%d@example.org'

Towards a loopback address every user has a source address of its own, out of 127.0.0.0/8. Behind a
balancer start the servers with --trusted-proxy, so that they see it.`,
		Example: `  classwaves load --url http://127.0.0.1:8080 --duration 1m
  classwaves load --probe auth=5/15m/15m --probe join=30/1m/1m --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, text := range probes {
				p, err := load.ParseProbe(text)
				if err != nil {
					return usage("--probe: %w", err)
				}
				c.Probes = append(c.Probes, p)
			}
			var err error
			if c.Password, err = readLoadPassword(cmd.InOrStdin()); err != nil {
				return err
			}
			g, err := load.New(c)
			if err != nil {
				return usage("%w", err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "seed %d\n", g.Seed())
			report, err := g.Run(cmd.Context())
			if err != nil {
				return err
			}
			return printLoad(cmd.OutOrStdout(), &report, asJSON)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&c.URL, "url", "http://127.0.0.1:8080", "the server, or the balancer before it")
	f.IntVar(&c.Teachers, "teachers", 4, "how many teachers play")
	f.StringVar(&c.Email, "email", "load-%d@example.org", "their accounts, with %d for the number from 1")
	f.IntVar(&c.Students, "students", 6, "how many students take part in each class session")
	f.DurationVar(&c.Duration, "duration", 0, "how long; 0: until it is interrupted")
	f.DurationVar(&c.Pause, "pause", 200*time.Millisecond, "mean time between two operations of one user")
	f.Uint64Var(&c.Seed, "seed", 0, "do the same again; 0: something new")
	f.StringArrayVar(&probes, "probe", nil, "spend this limit of the server's and count, NAME=POINTS/WINDOW/BLOCK with NAME auth or join")
	f.BoolVar(&c.Faults, "faults", false, "stores fail meanwhile: 503 and broken connections are allowed")
	f.BoolVar(&asJSON, "json", false, "print the report as one JSON object")
	return cmd
}

func readLoadPassword(in io.Reader) (string, error) {
	if v, ok := os.LookupEnv(loadPassword); ok {
		return v, nil
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", usage("no password: set %s, or write it to standard input", loadPassword)
	}
	return line, nil
}

func printLoad(out io.Writer, r *load.Report, asJSON bool) error {
	var err error
	if asJSON {
		err = json.NewEncoder(out).Encode(r)
	} else {
		err = r.Print(out)
	}
	if err == nil && r.Violated() > 0 {
		return errViolated
	}
	return err
}
