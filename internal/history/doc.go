// Package history records what concurrent clients asked of a server and what it answered, and
// decides with Porcupine whether one server that acts on one command at a time could have given
// those answers (linearizability).
//
//	rec := history.NewRecorder(seed)
//	client := rec.Client() // one per goroutine
//	client.Do(history.Op{Name: "INCR", Key: "n"}, func() (history.Reply, error) { ... })
//	history.Check(t, history.Counter, rec)
//
// An operation that ended in an error may have taken effect, may take effect later, or never: it
// stays open until the end of the history and is legal at any moment after its call. Dropping it
// instead would hide its effect and call a right history wrong.
//
// The models ([Register], [Counter], [Set], [List]) know each operation's meaning on one key;
// histories are cut by key, which is what a linearizable store of independent keys allows.
package history
