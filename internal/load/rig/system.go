package rig

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"roomlink/internal/accounts"
	"roomlink/internal/app"
	"roomlink/internal/load"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/internal/talkdesk"
	"roomlink/messages"
)

const (
	// readyTimeout bounds the start of each part. readyInterval is the interval between
	// two looks at it.
	readyTimeout  = time.Minute
	readyInterval = 10 * time.Millisecond
	// accountName is the name of the account, or the beginning of the names of several.
	accountName = "load"
	// simulatedApplication is the application id of the samples.
	simulatedApplication = "simulated-application"
)

// system is what a load test measures.
type system struct {
	target  load.Target
	auvious auviousServer
	// accounts is the path of the accounts file.
	accounts string
	store    *store.Store
	// operations are the addresses of the workers' operations HTTP.
	operations []string
	// meanwhile runs during the requests; nil for nothing.
	meanwhile func(context.Context)
	// workerLater leaves the worker out until startWorker.
	workerLater bool
	startWorker func(context.Context) error

	// group has the parts in this process. stopParts stops them.
	group     errgroup.Group
	stopParts context.CancelFunc
	closers   []func() error
}

// auviousServer is the auvious of a load test.
type auviousServer struct {
	url, clientID, applicationID, organizationID string
	clientSecret                                 secret.String
	// simulated is true for the simulated auvious, which has counts.
	simulated bool
}

// start starts the system and returns when it is ready. With workerLater it leaves out
// the worker. The system outlives the caller's context; the end of that context only
// breaks off the start.
func (r *rig) start(caller context.Context, workerLater bool) (*system, error) {
	s := &system{workerLater: workerLater}
	ctx, stopParts := context.WithCancel(context.WithoutCancel(caller))
	s.stopParts = stopParts
	s.target.Queue = messages.ConversationsStream
	s.target.Links = load.Outcomes{Stream: messages.LinksStream, Subject: func(account, id string) string {
		return messages.Conversation{Account: account, InteractionID: id}.LinksSubject()
	}}
	s.target.DeadLetters = load.Outcomes{Stream: messages.DeadLettersStream, Subject: func(account, id string) string {
		return messages.Conversation{Account: account, InteractionID: id}.DeadLetterSubject()
	}}
	s.target.Shared = r.NATSURL != ""
	s.target.OrphansAllowed = s.orphansAllowed
	completed := context.AfterFunc(caller, stopParts)
	err := r.chooseAuvious(s)
	if err == nil {
		err = r.startParts(ctx, s)
	}
	if !completed() {
		err = cmp.Or(err, caller.Err())
	}
	if err != nil {
		_ = s.stop() // it fails for the same reason
		return nil, fmt.Errorf("starting the system under test: %w", err)
	}
	if s.auvious.simulated {
		s.target.Facade = s.auvious.stats
	}
	return s, nil
}

// startParts starts the parts in this process, or as processes.
func (r *rig) startParts(ctx context.Context, s *system) error {
	if r.Split || r.Apart || r.Chaos {
		return r.startProcesses(ctx, s)
	}
	return r.startInProcess(ctx, s)
}

// chooseAuvious sets how to call the simulated auvious, or the given one.
func (r *rig) chooseAuvious(s *system) error {
	if r.AuviousURL == "" {
		s.auvious = auviousServer{
			clientID: simulator.DefaultClientID, clientSecret: simulator.DefaultClientSecret,
			applicationID: simulatedApplication, simulated: true,
		}
		return nil
	}
	given, err := r.env.Secret(app.AuviousSecret)
	s.auvious = auviousServer{
		url: r.AuviousURL, clientID: r.AuviousClientID, clientSecret: given,
		applicationID: r.AuviousApplicationID, organizationID: r.AuviousOrganizationID,
	}
	return err
}

// stop stops everything, the last one first.
func (s *system) stop() error {
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		errs = append(errs, s.closers[last]())
		s.closers = s.closers[:last]
	}
	s.stopParts()
	return errors.Join(append(errs, s.group.Wait())...)
}

// stats asks the simulated auvious for its counts.
func (a auviousServer) stats(ctx context.Context) (simulator.Stats, error) {
	var stats simulator.Stats
	body, err := get(ctx, a.url, "/simulator/stats")
	if err == nil {
		err = json.Unmarshal(body, &stats)
	}
	if err != nil {
		return stats, fmt.Errorf("asking the simulated auvious for its counts: %w", err)
	}
	return stats, nil
}

// get asks one of the system's own parts.
func get(ctx context.Context, base, path string) ([]byte, error) {
	status, body, err := talkdesk.Client{URL: base}.Get(ctx, path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	return body, err
}

// writeAccounts writes the accounts file of the parts, and records the callers.
func (r *rig) writeAccounts(s *system) error {
	s.accounts = filepath.Join(r.dir, "accounts.yaml")
	rooms := accounts.Default(accountName).Auvious.Rooms
	rooms.URL, rooms.ClientID, rooms.OrganizationID = s.auvious.url, s.auvious.clientID, s.auvious.organizationID
	rooms.Concurrency, rooms.ClientSecretFile = r.Concurrency, filepath.Join(r.dir, "auvious-secret")
	if err := writeSecret(rooms.ClientSecretFile, s.auvious.clientSecret); err != nil {
		return err
	}
	var file accounts.File
	for i := range r.Accounts {
		one := accounts.Account{Name: accountName}
		if r.Accounts > 1 {
			one.Name += "-" + strconv.Itoa(i+1)
		}
		key := newSecret()
		keyFile := filepath.Join(r.dir, one.Name+"-key")
		if err := writeSecret(keyFile, key); err != nil {
			return err
		}
		one.Talkdesk.APIKeys = []accounts.APIKey{{Name: "load", File: keyFile}}
		one.Auvious = accounts.Auvious{
			Application: accounts.Application{ApplicationID: s.auvious.applicationID}, Rooms: rooms,
		}
		file.Accounts = append(file.Accounts, one)
		s.target.Callers = append(s.target.Callers, load.Caller{Account: one.Name, APIKey: key})
	}
	data, err := yaml.Marshal(file)
	if err != nil {
		return err
	}
	return os.WriteFile(s.accounts, data, 0o600)
}

func newSecret() secret.String { return secret.String(rand.Text()) }

// writeSecret writes a secret that need not survive a crash.
func writeSecret(path string, value secret.String) error {
	return os.WriteFile(path, []byte(value.Reveal()), 0o600)
}

// awaitReady waits until a path answers 200. It returns the error of fault as soon as
// there is one.
func awaitReady(ctx context.Context, base, path string, fault func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		_, err := get(ctx, base, path)
		if err == nil {
			return nil
		}
		if failed := fault(); failed != nil {
			return failed
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until the parts are ready: %w", err)
		case <-ticker.C:
		}
	}
}

// orphansAllowed returns the number of orphan rooms that the workers report as possible.
func (s *system) orphansAllowed(ctx context.Context) int {
	allowed := 0.0
	for _, address := range s.operations {
		body, err := get(ctx, "http://"+address, "/metrics")
		if err != nil {
			continue // a part that has gone explains nothing
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
		if err != nil {
			continue
		}
		for _, series := range families["roomlink_orphans_possible_total"].GetMetric() {
			allowed += series.GetCounter().GetValue()
		}
	}
	return int(allowed)
}
