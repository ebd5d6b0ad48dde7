package load

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// BenchmarkPost compares 256 connections with the client of net/http. It reports the CPU
// time of client and server for each request.
func BenchmarkPost(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	address, body := strings.TrimPrefix(server.URL, "http://"), bytes.Repeat([]byte("x"), 900)
	b.Run("connection", func(b *testing.B) {
		request := fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", address, len(body), body)
		measurePosts(b, func() func() error {
			c := &connection{address: address}
			b.Cleanup(c.close)
			return func() error {
				_, err := c.post(b.Context(), append(c.request[:0], request...))
				return err
			}
		})
	})
	b.Run("nethttp", func(b *testing.B) {
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: DefaultConnections}}
		defer client.CloseIdleConnections()
		measurePosts(b, func() func() error {
			return func() error {
				response, err := client.Post(server.URL, "application/json", bytes.NewReader(body))
				if err != nil {
					return err
				}
				_, _ = io.Copy(io.Discard, response.Body)
				return response.Body.Close()
			}
		})
	})
}

// measurePosts posts from [DefaultConnections] goroutines, each with its own post.
func measurePosts(b *testing.B, newPost func() (post func() error)) {
	b.SetParallelism(DefaultConnections / runtime.GOMAXPROCS(0))
	before := OwnUsage("").CPUSeconds
	b.RunParallel(func(pb *testing.PB) {
		post := newPost()
		for pb.Next() {
			if err := post(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric((OwnUsage("").CPUSeconds-before)*1e6/float64(b.N), "cpu-µs/op")
}
