package web

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// FreeAddresses returns addresses of loopback that were free a moment ago. Their ports
// are outside the range that systems give to outgoing connections, so that a program
// that was killed finds its port free again.
func FreeAddresses(count int) ([]string, error) {
	const firstPort, ports, maxAttempts = 10_000, 20_000, 1000
	var addresses []string
	var err error
	for range maxAttempts {
		if len(addresses) == count {
			return addresses, nil
		}
		var listener net.Listener
		listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports)))
		if err != nil {
			continue
		}
		defer listener.Close() // only after all are chosen
		addresses = append(addresses, listener.Addr().String())
	}
	return nil, fmt.Errorf("looking for free ports: %w", err)
}

// IsLoopback reports whether an address of a listener is reachable from this machine only.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
