package auvious

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"roomlink/internal/accounts"

	"github.com/go-json-experiment/json"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Paths of auvious below its base (auvious, "Actions").
const (
	tokenPath = "/security/oauth/token"
	roomPath  = "/security/facades/room"
)

const (
	// maxAnswer bounds an answer, in bytes: three URLs.
	maxAnswer = 64 << 10
	// maxURL bounds one URL of an answer, in bytes.
	maxURL = 4 << 10
	// idleTimeout is shorter than that of the usual load balancer, so that no call
	// begins on a connection that is being closed.
	idleTimeout = 30 * time.Second
	// bufferSize is that of each connection in each direction, in bytes: a call and its
	// answer fit, of which there may be hundreds at once.
	bufferSize = 2 << 10
)

// Values of headers that all calls share. The name of ours is explicit, as in the
// vendor's own examples.
var (
	jsonType  = []string{"application/json"}
	ourselves = []string{"roomlink/1"}
)

// Client calls the room facade. It may be used by many goroutines at once.
type Client struct {
	room    string
	timeout time.Duration
	allow   []string
	http    *http.Client
	tokens  *tokens
}

// New returns a client for the rooms of an account. It uses the fields URL, ClientID,
// ClientSecret, Timeout, Concurrency and AllowHTTPHosts. It returns an error for a URL
// that is not absolute, or is http without being allowed to be.
func New(config accounts.Rooms) (*Client, error) {
	if err := checkURL(config.URL, config.AllowHTTPHosts); err != nil {
		return nil, fmt.Errorf("auvious' URL %w", err) // not quoted: it may hold a password
	}
	base := strings.TrimRight(config.URL, "/")
	client := &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: config.Timeout}).DialContext,
			TLSHandshakeTimeout: config.Timeout,
			ForceAttemptHTTP2:   true,
			MaxIdleConns:        config.Concurrency + 1, // and one for a token
			MaxIdleConnsPerHost: config.Concurrency + 1,
			IdleConnTimeout:     idleTimeout,
			WriteBufferSize:     bufferSize,
			ReadBufferSize:      bufferSize,
		},
		// A redirect would send the credentials, or the call, somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	credentials := &clientcredentials.Config{
		ClientID:     config.ClientID,
		ClientSecret: config.ClientSecret.Reveal(),
		TokenURL:     base + tokenPath,
		AuthStyle:    oauth2.AuthStyleInParams,
	}
	return &Client{
		room:    base + roomPath,
		timeout: config.Timeout,
		allow:   config.AllowHTTPHosts,
		http:    client,
		tokens:  newTokens(credentials, client, config.Timeout),
	}, nil
}

// Close ends what is under way in the background.
func (c *Client) Close() {
	c.tokens.close()
	c.http.CloseIdleConnections()
}

// TokenAge is how old the token in use is; 0 if there is none.
func (c *Client) TokenAge() time.Duration { return c.tokens.age() }

// CreateRoom has one room made. It returns the context's own error if that ended
// before the call was sent, and else a [*CallError] that wraps [ErrRejected],
// [ErrBadAnswer], [ErrAccount], [ErrNotDone] or [ErrUnknownOutcome].
func (c *Client) CreateRoom(ctx context.Context, request RoomRequest) (Room, error) {
	body, err := json.Marshal(&request)
	if err != nil {
		return Room{}, &CallError{Kind: ErrRejected, Detail: "the request is no JSON"}
	}
	for attempt := 1; ; attempt++ {
		token, err := c.tokens.get(ctx)
		if err != nil {
			return Room{}, err
		}
		room, err := c.call(ctx, token, body)
		var failed *CallError
		if !errors.As(err, &failed) || failed.Status != http.StatusUnauthorized {
			return room, err
		}
		if attempt == 2 {
			c.tokens.refuseAgain(token, failed)
			return Room{}, failed
		}
		c.tokens.refuse(token)
	}
}

func (c *Client) call(caller context.Context, token *cached, body []byte) (Room, error) {
	ctx, cancel := context.WithTimeout(caller, c.timeout)
	defer cancel()
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) { sent.Store(info.Err == nil) },
	})
	request, err := http.NewRequestWithContext(traced, http.MethodPost, c.room, bytes.NewReader(body))
	if err != nil {
		return Room{}, &CallError{Kind: ErrRejected, Detail: "the address of the facade is not usable"}
	}
	request.Header["Content-Type"], request.Header["Accept"] = jsonType, jsonType
	request.Header["User-Agent"] = ourselves
	request.Header["Authorization"] = token.authorization
	// Not by a client of net/http: it would get ready to follow a redirect.
	response, err := c.http.Transport.RoundTrip(request)
	switch {
	case err != nil && !sent.Load() && caller.Err() != nil:
		return Room{}, caller.Err()
	case err != nil:
		return Room{}, transportError(err, sent.Load())
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	return c.judge(response, answer, err)
}
