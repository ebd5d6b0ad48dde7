// Package reference is the bare path that the whole one is measured against: a
// program of the same dependencies that does nothing but take a request, publish
// it, answer 202 after the PubAck, pull it, post it to auvious, publish the
// answer, and acknowledge. It checks nothing, keeps no contract, looks nothing
// up, counts nothing and logs nothing, and so is the least that the job costs.
//
// It is for load tests on loopback: it lets everybody in, and loses and doubles
// what the whole path does not.
package reference

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	// EventsStream holds what waits.
	EventsStream = "REFERENCE_EVENTS"
	// LinksStream holds auvious' answers.
	LinksStream = "REFERENCE_LINKS"
	// LinksSubjects is what the subject of an answer begins with; the interaction
	// id follows.
	LinksSubjects = "reference.links."

	eventsSubject = "reference.events"
	startWithin   = 10 * time.Second
	callWithin    = 10 * time.Second
	stopWithin    = 5 * time.Second
	// pullMost is how many events are pulled at a time, pullWait how long a pull
	// waits for them.
	pullMost = 128
	pullWait = time.Second
	// mostBody bounds a request and an answer, in bytes.
	mostBody = 64 << 10
)

// Config makes a [Path].
type Config struct {
	// Dir is where the broker keeps its store.
	Dir string
	// Sync is the interval between syncs of the store; 0 to sync every write.
	Sync time.Duration
	// AuviousURL is the base of auvious, of which ClientID and ClientSecret are the
	// credentials.
	AuviousURL, ClientID, ClientSecret string
	// Concurrency is how many calls of auvious run at once.
	Concurrency int
	// WorkerLater leaves the work to [Path.StartWorker].
	WorkerLater bool
}

// Path is a bare path that runs.
type Path struct {
	config Config
	broker *server.Server
	// consumer is of what waits.
	consumer jetstream.Consumer
	conns    []*nats.Conn
	events   jetstream.JetStream
	links    jetstream.JetStream
	http     *http.Server
	url      string
	facade   *http.Client

	stop    context.CancelFunc
	running sync.WaitGroup
}

// Start starts a bare path on a free port of loopback. Its errors are those of
// the broker and of the network. The context is for the start alone.
func Start(ctx context.Context, config Config) (*Path, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	p := &Path{config: config}
	if err := p.start(ctx); err != nil {
		p.Close()
		return nil, fmt.Errorf("starting the bare path: %w", err)
	}
	return p, nil
}

func (p *Path) start(ctx context.Context) error {
	if err := p.startBroker(); err != nil {
		return err
	}
	var err error
	if p.events, err = p.Connect(); err != nil {
		return err
	}
	if p.links, err = p.Connect(); err != nil {
		return err
	}
	if p.consumer, err = p.provide(ctx); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.url = "http://" + listener.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /talkdesk/events", p.take)
	p.http = &http.Server{Handler: mux, ReadHeaderTimeout: callWithin}
	p.running.Go(func() { _ = p.http.Serve(listener) }) // ends with Close
	p.facade = p.client()
	if !p.config.WorkerLater {
		p.StartWorker(ctx)
	}
	return nil
}

// StartWorker starts to work on what waits, if [Config.WorkerLater] left that out.
// It is to be called once. The context gives its values and not its end, which is
// [Path.Close].
func (p *Path) StartWorker(ctx context.Context) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	p.running.Go(func() { p.work(work) })
}

func (p *Path) startBroker() error {
	var err error
	p.broker, err = server.NewServer(&server.Options{
		JetStream: true, StoreDir: p.config.Dir, DontListen: true, NoSigs: true, NoLog: true,
		SyncAlways: p.config.Sync == 0, SyncInterval: p.config.Sync,
	})
	if err != nil {
		return err
	}
	p.broker.Start()
	if !p.broker.ReadyForConnections(startWithin) {
		return errors.New("the broker is not ready")
	}
	return nil
}

// Connect opens one more connection to the broker, which ends with the path. It
// is not for many goroutines at once.
func (p *Path) Connect() (jetstream.JetStream, error) {
	nc, err := nats.Connect("", nats.InProcessServer(p.broker))
	if err != nil {
		return nil, err
	}
	p.conns = append(p.conns, nc)
	return jetstream.New(nc)
}

func (p *Path) provide(ctx context.Context) (jetstream.Consumer, error) {
	if _, err := p.links.CreateStream(ctx, jetstream.StreamConfig{
		Name: LinksStream, Subjects: []string{LinksSubjects + "*"}, MaxMsgsPerSubject: 1,
	}); err != nil {
		return nil, err
	}
	stream, err := p.events.CreateStream(ctx, jetstream.StreamConfig{
		Name: EventsStream, Subjects: []string{eventsSubject}, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		return nil, err
	}
	return stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "rooms", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1,
	})
}

// client calls auvious with its token.
func (p *Path) client() *http.Client {
	plain := &http.Client{Timeout: callWithin, Transport: &http.Transport{
		MaxIdleConns: p.config.Concurrency, MaxIdleConnsPerHost: p.config.Concurrency,
	}}
	credentials := clientcredentials.Config{
		ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret,
		TokenURL: p.config.AuviousURL + "/security/oauth/token", AuthStyle: oauth2.AuthStyleInParams,
	}
	client := credentials.Client(context.WithValue(context.Background(), oauth2.HTTPClient, plain))
	client.Timeout = callWithin
	return client
}

// URL is where events are posted to, as to a webhook: by POST /talkdesk/events.
func (p *Path) URL() string { return p.url }

// take stores a request as it is.
func (p *Path) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if err == nil {
		_, err = p.events.Publish(r.Context(), eventsSubject, body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// work pulls for free slots until the context ends.
func (p *Path) work(ctx context.Context) {
	slots := make(chan struct{}, p.config.Concurrency)
	var working sync.WaitGroup
	defer working.Wait()
	for ctx.Err() == nil {
		slots <- struct{}{}
		count := 1
	more:
		for count < pullMost {
			select {
			case slots <- struct{}{}:
				count++
			default:
				break more
			}
		}
		batch, err := p.consumer.Fetch(count, jetstream.FetchMaxWait(pullWait))
		if err != nil {
			return
		}
		for msg := range batch.Messages() {
			count--
			working.Go(func() {
				defer func() { <-slots }()
				_ = p.handle(ctx, msg) // comes again
			})
		}
		for range count {
			<-slots
		}
	}
}

func (p *Path) handle(ctx context.Context, msg jetstream.Msg) error {
	var event struct {
		InteractionID string `json:"interaction_id"` //nolint:tagliatelle // Talkdesk names it so
		ContactID     string `json:"contact_id"`     //nolint:tagliatelle // likewise
	}
	if err := json.Unmarshal(msg.Data(), &event); err != nil {
		return err
	}
	room, err := json.Marshal(map[string]any{
		"applicationId": "reference", "cdestination": "standalone", "customerId": event.ContactID,
		"interactionId": event.InteractionID, "ticketExpirationSeconds": 14400, "urlBase": p.config.AuviousURL,
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost,
		p.config.AuviousURL+"/security/facades/room", bytes.NewReader(room))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.facade.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, mostBody))
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("auvious answered %d", response.StatusCode)
	}
	if _, err := p.links.Publish(ctx, LinksSubjects+event.InteractionID, answer); err != nil {
		return err
	}
	return msg.Ack()
}

// Close stops the path, and returns when it has stopped. What waits is left. It
// may be called twice.
func (p *Path) Close() {
	if p.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		_ = p.http.Shutdown(ctx)
		cancel()
	}
	if p.stop != nil {
		p.stop()
	}
	p.running.Wait()
	for _, nc := range p.conns {
		nc.Close()
	}
	p.conns = nil
	if p.broker != nil {
		p.broker.Shutdown()
		p.broker.WaitForShutdown()
	}
}
