package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"roomlink/internal/load"
	"roomlink/internal/load/reference"
)

// forBoth are the flags that the bare path is driven with like the whole one.
var forBoth = []string{
	"rate", "duration", "ramp", "requests", "connections", "duplicates", "accept-only", "drain", "settle",
	"facade-latency", "facade-errors", "facade-status", "auvious-url", "auvious-client-id",
	"concurrency", "sync", "data-dir",
}

// bareApart measures the bare path in a process of its own, so that it finds no more
// of what a process needs at first than the whole path did, which this one began with.
func (t *loadTest) bareApart(ctx context.Context) (*load.Result, error) {
	arguments := []string{"load", "--bare", "--json"}
	for _, name := range forBoth {
		if value, there := t.given[name]; there {
			arguments = append(arguments, "--"+name+"="+value)
		}
	}
	var printed bytes.Buffer
	command, err := load.Command(ctx, arguments...)
	if err != nil {
		return nil, err
	}
	command.Env, command.Stdout, command.Stderr = t.world.environ(), &printed, t.world.stderr
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = load.StopWithin
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failure := command.Run()
	result, err := load.Read(&printed)
	switch {
	case err == nil && (failure == nil || ctx.Err() != nil): // also what it had by an early end
		return &result, nil
	case ctx.Err() != nil:
		return nil, nil
	}
	return nil, fmt.Errorf("driving the bare path: %w", cmp.Or(failure, err))
}

// runBare measures the bare path alone, and prints what it found.
func (t *loadTest) runBare(ctx context.Context) error {
	result, err := t.measureBare(ctx)
	if err != nil {
		return err
	}
	return t.print(result)
}

// measureBare starts the bare path, measures it and stops it, as
// [loadTest.measureWhole] does the whole one. Its only shape is automation.
func (t *loadTest) measureBare(ctx context.Context) (result load.Result, err error) {
	s, living, err := t.newSystem(ctx)
	if err != nil {
		return load.Result{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.openAuvious(living, t); err != nil {
		return load.Result{}, err
	}
	dir := t.storeIn("reference")
	defer os.RemoveAll(dir)
	path, err := reference.Start(ctx, reference.Config{
		Dir: dir, Sync: time.Duration(t.Sync), AuviousURL: s.auvious.url, ClientID: s.auvious.clientID,
		ClientSecret: s.auvious.clientSecret.Reveal(), Concurrency: t.Concurrency, WorkerLater: t.workerLater(),
	})
	if err != nil {
		return load.Result{}, err
	}
	defer path.Close()
	js, err := path.Connect()
	if err != nil {
		return load.Result{}, fmt.Errorf("connecting to the bare path: %w", err)
	}
	attack := t.attack
	if attack.Shapes, err = (shapeMix{{"automation", 1}}).samples(); err != nil {
		return load.Result{}, err
	}
	progress, done := load.NewProgress(t.world.stderr, "reference")
	defer done()
	test := load.Test{
		Target: load.Target{
			Address: strings.TrimPrefix(path.URL(), "http://"), Callers: []load.Caller{{}}, JetStream: js,
			Queue: reference.EventsStream,
			Links: load.Outcomes{Stream: reference.LinksStream, Subject: func(_, id string) string {
				return reference.LinksSubjects + id
			}},
			Facade: s.auvious.stats(), Usage: ownUsage,
		},
		Attack: attack, Settle: t.Settle, OnlyAttack: t.AcceptOnly, Progress: progress,
	}
	if t.workerLater() {
		test.AfterAttack = func(ctx context.Context) error {
			path.StartWorker(ctx)
			return nil
		}
	}
	load.ForgetPeak()
	return test.Run(ctx)
}
