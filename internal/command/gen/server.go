package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/command"
)

// described is one server's description of its commands.
type described struct {
	name     string // "Redis 8.0.2"
	bit      command.Servers
	commands []*command.Command
}

// ask gets the description of a server that runs at an address, or of a binary
// that it starts for the purpose.
func ask(ctx context.Context, server string) (described, error) {
	if _, err := os.Stat(server); err == nil {
		address, stop, err := start(ctx, server)
		if err != nil {
			return described{}, err
		}
		d, err := describe(ctx, address)
		return d, errors.Join(err, stop())
	}
	return describe(ctx, server)
}

// start runs a server's binary and waits until it answers.
func start(ctx context.Context, binary string) (address string, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "rekey-gen-")
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	address = l.Addr().String()
	_, port, _ := net.SplitHostPort(address) // an address of our own listener parses
	if err := l.Close(); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	cmd := exec.CommandContext(ctx, binary, "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	stop = func() error {
		err := cmd.Process.Kill()
		_ = cmd.Wait() // "signal: killed" is what was asked for
		return errors.Join(err, os.RemoveAll(dir))
	}
	// An empty server answers as soon as it listens.
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return address, stop, conn.Close()
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return "", nil, errors.Join(fmt.Errorf("wait for the server: %w", err), stop())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func describe(ctx context.Context, address string) (described, error) {
	client := redis.NewClient(&redis.Options{Addr: address, Protocol: 2})
	defer client.Close()
	var d described
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return d, fmt.Errorf("read INFO: %w", err)
	}
	if d.name, d.bit, err = identify(info); err != nil {
		return d, err
	}
	reply, err := client.Do(ctx, "COMMAND").Slice()
	if err != nil {
		return d, fmt.Errorf("read COMMAND: %w", err)
	}
	for _, element := range reply {
		c, err := command.FromInfo(valueOf(element))
		if err != nil {
			return d, fmt.Errorf("read COMMAND: %w", err)
		}
		d.commands = append(d.commands, c)
	}
	docs, err := client.Do(ctx, "COMMAND", "DOCS").Slice()
	if err != nil {
		return d, fmt.Errorf("read COMMAND DOCS: %w", err)
	}
	document(d.commands, docs)
	return d, nil
}

// identify names a server by its INFO and finds its bit in the table.
func identify(info string) (string, command.Servers, error) {
	versions := make(map[string]string)
	for _, line := range strings.Split(info, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		versions[name] = value
	}
	name, version := "Redis", versions["redis_version"]
	if v, ok := versions["valkey_version"]; ok {
		name, version = "Valkey", v
	}
	bits := map[string]command.Servers{"Redis 7.0": command.Redis70, "Valkey 8.0": command.Valkey80, "Redis 8.0": command.Redis80}
	for prefix, bit := range bits {
		if strings.HasPrefix(name+" "+version+".", prefix+".") {
			return name + " " + version, bit, nil
		}
	}
	return "", 0, fmt.Errorf("%s %s has no bit in command.Servers: add one", name, version)
}

// document adds what COMMAND DOCS knows beyond COMMAND: names and maps by turns.
func document(commands []*command.Command, docs []any) {
	byName := make(map[string][]any)
	var collect func(list []any)
	collect = func(list []any) {
		for i := 0; i+1 < len(list); i += 2 {
			name, _ := list[i].(string)
			fields, _ := list[i+1].([]any)
			byName[strings.Replace(strings.ToLower(name), "|", " ", 1)] = fields
			if subs, ok := pick(fields, "subcommands").([]any); ok {
				collect(subs)
			}
		}
	}
	collect(docs)
	var fill func(commands []*command.Command)
	fill = func(commands []*command.Command) {
		for _, c := range commands {
			c.Group, _ = pick(byName[c.Name], "group").(string)
			c.Since, _ = pick(byName[c.Name], "since").(string)
			fill(c.Subs)
		}
	}
	fill(commands)
}

func pick(fields []any, name string) any {
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == name {
			return fields[i+1]
		}
	}
	return nil
}

func valueOf(reply any) command.Value {
	switch v := reply.(type) {
	case string:
		return command.Value{Text: v}
	case int64:
		return command.Value{Int: v}
	case []any:
		list := make([]command.Value, len(v))
		for i := range v {
			list[i] = valueOf(v[i])
		}
		return command.Value{List: list}
	default:
		return command.Value{}
	}
}
