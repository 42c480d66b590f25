package cli

import (
	"fmt"
	"net"
)

// notifyReady tells a service manager that waits for it (systemd's Type=notify) that clients are served from now on.
func notifyReady(lookup func(string) (string, bool)) error {
	socket, waits := lookup("NOTIFY_SOCKET")
	if !waits || socket == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer func() { _ = conn.Close() }() // a datagram has gone or has not
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
