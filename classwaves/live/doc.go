// Package live tells the browsers of a class session what happens in it, over WebSockets, whichever
// process they are connected to.
//
// # How an event travels
//
// [Hub.Publish] sends it to the session's channel in Redis. The hub of every process hears the channels of
// its environment with one subscription and puts the event into the queue of each connection of that
// session. Channels are no keys: rekey does not rewrite them, they carry the environment from the start.
//
// An event is a JSON text message {"kind": ..., "payload": ...}. Events of one publisher arrive in
// order. Delivery is what Redis's publish and subscribe gives, at most once: what is published while a
// process does not hear is not repeated. So when its subscription is back after a loss, a hub sends an
// event of kind "resync" to every connection: whoever keeps figures reads them anew. While Redis
// cannot be reached, an event is still given to the connections of the publisher's own process.
//
// # States of a connection
//
// Serve refuses, before the upgrade, a page of a wrong origin (403) and a connection over the limits of a session or
// of the process (503). From then on a connection ends with a status:
//
//   - 1000 or whatever the client says, when it closes;
//   - 1001 when the hub is closed;
//   - 1008 when it reads so slowly that its queue is full, or sends more messages than the rate allows;
//   - 1009 when a message is too long;
//   - none when it does not answer a ping, or takes an event no further for WriteTimeout.
//
// A connection that reads slowly delays nobody: its queue is its own, and giving it an event never waits.
// Close waits until every Serve has returned.
package live
