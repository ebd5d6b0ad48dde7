package auvious

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"roomlink/internal/accounts"
	"roomlink/internal/tracing"

	"github.com/go-json-experiment/json"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Paths of auvious below its base (auvious, "Actions").
const (
	tokenPath = "/security/oauth/token"
	roomPath  = "/security/facades/room"
)

const (
	// maxURL bounds one URL of an answer, in bytes.
	maxURL = 4 << 10
	// idleTimeout is shorter than the idle timeout of the usual load balancer. So no call begins on a connection that
	// the other side is closing.
	idleTimeout = 30 * time.Second
	// bufferSize is the size of a connection's buffers, in bytes. One call fits; hundreds of connections may be open.
	bufferSize = 2 << 10
)

// Client calls the room facade. Many goroutines may use a client at once.
type Client struct {
	roomURL   string
	timeout   time.Duration
	allowHTTP []string
	linkHosts accounts.LinkHosts
	transport *http.Transport
	tokens    *tokens
	observer  atomic.Pointer[func(failed *CallError, told bool)]
	fetched   atomic.Pointer[func(fetched bool)]
}

// New returns a client for the rooms of an account. It uses the fields URL, ClientID, ClientSecret, Timeout,
// Concurrency and AllowHTTPHosts. It returns an error if the URL is not absolute, has a query or a fragment, or is http
// and its host may not be.
func New(config accounts.Rooms, options ...Option) (*Client, error) {
	if err := checkURL(config.URL, config.AllowHTTPHosts); err != nil {
		return nil, fmt.Errorf("ROOMLINK_AUVIOUS_URL (url) %w", err) // not quoted: it may contain a password
	}
	if strings.ContainsAny(config.URL, "?#") {
		return nil, errors.New("ROOMLINK_AUVIOUS_URL (url) has a query or a fragment")
	}
	base := strings.TrimRight(config.URL, "/")
	c := &Client{
		roomURL:   base + roomPath,
		timeout:   config.Timeout,
		allowHTTP: config.AllowHTTPHosts,
		transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: config.Timeout}).DialContext,
			TLSHandshakeTimeout: config.Timeout,
			ForceAttemptHTTP2:   true,
			DisableCompression:  true,                   // readAnswer does it, and copes with wrong headers
			MaxIdleConns:        config.Concurrency + 1, // one more for a token
			MaxIdleConnsPerHost: config.Concurrency + 1,
			IdleConnTimeout:     idleTimeout,
			WriteBufferSize:     bufferSize,
			ReadBufferSize:      bufferSize,
		},
	}
	credentials := &clientcredentials.Config{
		ClientID:     config.ClientID,
		ClientSecret: config.ClientSecret.Reveal(),
		TokenURL:     base + tokenPath,
		AuthStyle:    oauth2.AuthStyleInParams,
	}
	c.tokens = newTokens(credentials, c.transport, config.Timeout, c.report)
	c.tokens.fetched = c.reportFetch
	for _, set := range options {
		set(c)
	}
	return c, nil
}

// Option is an option of [New].
type Option func(*Client)

// WithLinkHosts makes a link on another host a bad answer, if there are any hosts.
func WithLinkHosts(hosts accounts.LinkHosts) Option {
	return func(c *Client) { c.linkHosts = hosts }
}

// OnFailure sets a function that the client calls once for each failed call of an endpoint. It replaces an earlier
// function. told is false if nobody else learns of the failure, because the client goes on with its current token or a
// new one. told is true if [Client.CreateRoom] returns the failure, or if an earlier report was about the same token.
func (c *Client) OnFailure(observer func(failed *CallError, told bool)) { c.observer.Store(&observer) }

// report passes a failure to the observer.
func (c *Client) report(failed *CallError, told bool) {
	if observer := c.observer.Load(); observer != nil {
		(*observer)(failed, told)
	}
}

// OnFetch sets a function that the client calls after each fetch of an access token. It replaces an earlier function.
func (c *Client) OnFetch(observer func(fetched bool)) { c.fetched.Store(&observer) }

// reportFetch passes the end of a fetch to the observer.
func (c *Client) reportFetch(fetched bool) {
	if observer := c.fetched.Load(); observer != nil {
		(*observer)(fetched)
	}
}

// Close ends a running fetch of a token and closes idle connections.
func (c *Client) Close() {
	c.tokens.close()
	c.transport.CloseIdleConnections()
}

// CheckToken returns nil if auvious issues an access token, which it keeps for later calls. It returns the error
// of the context, or a [*CallError] of the kind [ErrAccount].
func (c *Client) CheckToken(ctx context.Context) error {
	_, err := c.tokens.get(ctx)
	return err
}

// TokenAge returns the age of the current access token; 0 if there is none.
func (c *Client) TokenAge() time.Duration { return c.tokens.age() }

// CreateRoom makes one room. If auvious refuses the token, CreateRoom tries once more with a new one. It returns the
// error of the context if that ends before the call is sent. Any other error is a [*CallError], which wraps one of
// [Kinds].
func (c *Client) CreateRoom(ctx context.Context, request RoomRequest) (Room, error) {
	body, err := json.Marshal(&request)
	if err != nil {
		return Room{}, &CallError{Kind: ErrRejected, Detail: "the request cannot be encoded"}
	}
	for attempt := 1; ; attempt++ {
		asking, span := tracing.Start(ctx, "get access token", trace.SpanKindInternal)
		token, err := c.token(asking)
		tracing.End(span, err)
		if err != nil {
			return Room{}, err
		}
		calling, span := tracing.Start(ctx, "call auvious", trace.SpanKindClient)
		room, err := c.call(calling, token, body)
		failed, ok := errors.AsType[*CallError](err)
		if ok && span.IsRecording() {
			span.SetAttributes(attribute.Int("http.response.status_code", failed.Status), attribute.String("error.type", string(failed.Cause)))
		}
		tracing.End(span, err)
		if !ok {
			return room, err
		}
		if failed.Kind == ErrAccount && attempt == 1 {
			c.report(failed, !c.tokens.refuse(token))
			continue
		}
		if failed.Kind == ErrAccount {
			c.tokens.refuseAccount(token, failed)
		}
		c.report(failed, true)
		return Room{}, failed
	}
}

// tokenTimeKey is the key of the value of [WithTokenTime].
type tokenTimeKey struct{}

// WithTokenTime returns a context with which [Client.CreateRoom] adds to waited how long it waits for access tokens.
func WithTokenTime(ctx context.Context, waited *time.Duration) context.Context {
	return context.WithValue(ctx, tokenTimeKey{}, waited)
}

// token returns a valid token, and measures the wait for it.
func (c *Client) token(ctx context.Context) (*accessToken, error) {
	if waited, ok := ctx.Value(tokenTimeKey{}).(*time.Duration); ok {
		began := time.Now()
		defer func() { *waited += time.Since(began) }()
	}
	return c.tokens.get(ctx)
}

// call makes one call with a token.
func (c *Client) call(caller context.Context, token *accessToken, body []byte) (Room, error) {
	ctx, cancel := context.WithTimeout(caller, c.timeout)
	defer cancel()
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) { sent.Store(info.Err == nil) },
	})
	request, err := http.NewRequestWithContext(traced, http.MethodPost, c.roomURL, bytes.NewReader(body))
	if err != nil {
		return Room{}, &CallError{Kind: ErrRejected, Detail: "the address of the facade is not usable"}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "roomlink/1") // explicit, as in the examples of auvious
	request.Header.Set("Authorization", token.authorization)
	// Not Client.Do: it follows redirects, which would send the credentials, or the call, somewhere else.
	response, err := c.transport.RoundTrip(request)
	switch {
	case err != nil && !sent.Load() && caller.Err() != nil:
		return Room{}, caller.Err()
	case err != nil && sent.Load():
		return Room{}, noAnswer(ErrUnknownOutcome, RoomEndpoint, "the call was sent but not answered", err)
	case err != nil:
		return Room{}, noAnswer(ErrNotDone, RoomEndpoint, "the call was not sent", err)
	}
	return c.judge(readAnswer(RoomEndpoint, response), body)
}
