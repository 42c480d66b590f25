package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/joho/godotenv"

	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/phase"
)

// settings are the environment, and over it a file that can be read again: a process cannot be given
// another environment, and a rollout wants no restart.
type settings struct {
	path string // empty: no file
	file atomic.Pointer[map[string]string]
}

func newSettings(path string) (*settings, error) {
	s := &settings{path: path}
	return s, s.read()
}

// read reads the file. If it cannot be read, what was read before holds on.
func (s *settings) read() error {
	if s.path == "" {
		return nil
	}
	values, err := godotenv.Read(s.path)
	if err != nil {
		return fmt.Errorf("read --env-file: %w", err)
	}
	if _, ok := values[""]; ok {
		return fmt.Errorf("read --env-file: %s has a line that is not NAME=VALUE", s.path)
	}
	if before := s.file.Load(); before != nil {
		for _, name := range steering {
			was, named := (*before)[name]
			if name == phase.RLPrefixEnabled && was == "0" {
				continue // at hold, from where its absence is the next step back
			}
			if _, still := values[name]; named && !still {
				return fmt.Errorf("read --env-file: %s does not name %s any more; write %s=0 to turn it off", s.path, name, name)
			}
		}
	}
	s.file.Store(&values)
	return nil
}

// steering are flags whose absence means off, or legacy. A file that was cut short while it was written must
// not take a process back to the legacy names, nor past a gate on any way.
var steering = []string{phase.CachePrefixEnabled, phase.CacheDualWrite, phase.RLPrefixEnabled, phase.CacheGated}

// lookup has the form of [os.LookupEnv]. What the file names, the environment does not.
func (s *settings) lookup(name string) (string, bool) {
	if values := s.file.Load(); values != nil {
		if v, ok := (*values)[name]; ok {
			return v, true
		}
	}
	return os.LookupEnv(name)
}

// or is the value of a flag, or of a variable where the flag was not given.
func (s *settings) or(flag, name string) string {
	if flag != "" {
		return flag
	}
	v, _ := s.lookup(name)
	return v
}

// on reads a flag of the seed's kind: off when it is unset, empty or 0, on when it is 1.
func (s *settings) on(name string) (bool, error) {
	switch v, _ := s.lookup(name); v {
	case "", "0":
		return false, nil
	case "1":
		return true, nil
	default:
		return false, usage("%s must be 0 or 1", name)
	}
}

// sessionKeys reads CW_SESSION_KEYS.
func (s *settings) sessionKeys() ([]session.Key, error) {
	text, _ := s.lookup("CW_SESSION_KEYS")
	var keys []session.Key
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		k, err := session.ParseKey(part)
		if err != nil {
			return nil, usage("CW_SESSION_KEYS: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}
