package intercept

import (
	"sync"

	"github.com/classwaves/rekey/internal/command"
)

// Learned remembers commands that a server has described. The zero value is empty.
type Learned struct {
	mu   sync.RWMutex
	byID map[string]*command.Command
}

// lookup finds a command by its lower-case name.
func (l *Learned) lookup(name string) (c *command.Command, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	c, ok = l.byID[name]
	return c, ok
}

// maxLearned bounds what a hostile client can make an instance remember.
const maxLearned = 4096

func (l *Learned) store(name string, c *command.Command) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil || len(l.byID) >= maxLearned {
		l.byID = make(map[string]*command.Command)
	}
	l.byID[name] = c
}
