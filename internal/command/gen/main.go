// Gen writes the table of internal/command from what servers say about
// themselves (COMMAND and COMMAND DOCS), so that no fact is typed by hand.
//
//	go run ./gen -out table_gen.go -supplement gen/supplement.json SERVER...
//
// A SERVER is the path of a server's binary, which is started on a free port
// in an empty directory and stopped afterwards, or the address of one that
// runs already. Without arguments the environment variable
// REKEY_GENERATE_SERVERS lists them, separated by commas. Where servers
// differ, the one that is named first wins: name the newest first.
//
// The supplement has the facts of commands newer than the servers at hand, in
// the form of the command descriptions in the servers' own sources.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/format"
	"os"
	"os/signal"
	"strings"

	"github.com/classwaves/rekey/internal/command"
)

func main() {
	out := flag.String("out", "table_gen.go", "file to write")
	supplement := flag.String("supplement", "", "file with the facts of commands newer than the servers")
	flag.Parse()
	servers := flag.Args()
	if list := os.Getenv("REKEY_GENERATE_SERVERS"); len(servers) == 0 && list != "" {
		servers = strings.Split(list, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out, *supplement, servers); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, supplement string, servers []string) error {
	if len(servers) == 0 {
		return errors.New("no servers: name their binaries or addresses, or set REKEY_GENERATE_SERVERS")
	}
	facts := make(merged)
	var sources []string
	for _, s := range servers {
		d, err := ask(ctx, s)
		if err != nil {
			return fmt.Errorf("ask %s: %w", s, err)
		}
		facts.add(d.commands, d.bit)
		sources = append(sources, d.name)
	}
	if supplement != "" {
		later, err := readSupplement(supplement)
		if err != nil {
			return err
		}
		facts.add(later, command.Later)
		sources = append(sources, "gen/supplement.json")
	}
	var b bytes.Buffer
	emit(&b, facts.sorted(), sources)
	source, err := format.Source(b.Bytes())
	if err != nil {
		return fmt.Errorf("format the table: %w", err)
	}
	return os.WriteFile(out, source, 0o644)
}
