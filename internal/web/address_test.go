package web_test

import (
	"testing"

	"roomlink/internal/web"
)

func TestIsLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:9090": true, "[::1]:9090": true, "localhost:9090": true, "127.9.9.9:1": true,
		":9090": false, "0.0.0.0:9090": false, "[::]:9090": false, "10.0.0.1:9090": false, "nonsense": false,
	} {
		if got := web.IsLoopback(address); got != want {
			t.Errorf("IsLoopback(%q): got %t, want %t", address, got, want)
		}
	}
}
