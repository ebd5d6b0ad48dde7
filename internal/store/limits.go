package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

// ErrLimits reports that the broker does not let its account hold what roomlink stores. The
// error says which limit to change.
var ErrLimits = errors.New("the broker's account cannot hold roomlink's streams")

// CheckLimits returns an error that wraps [ErrLimits] if JetStream is not enabled for the
// account of the connection, or if the account's limits leave no room for the streams that
// are missing or for the consumers of that many accounts. It checks nothing for a user who
// may not read the limits. Other errors are the broker's.
func CheckLimits(ctx context.Context, js jetstream.JetStream, settings StreamSettings, accounts int) error {
	info, err := accountInfo(ctx, js)
	if err != nil || info == nil {
		return err
	}
	missing, err := missingStreams(ctx, js, settings)
	if err != nil {
		return err
	}
	replicas, tier := settings.Streams()[0].Replicas, info.Tier
	if len(info.Tiers) > 0 {
		name := fmt.Sprintf("R%d", replicas)
		var found bool
		if tier, found = info.Tiers[name]; !found {
			return fmt.Errorf("%w: it has no limits for %d replicas (tier %s): add them, or set ROOMLINK_REPLICAS", ErrLimits, replicas, name)
		}
		replicas = 1 // a tier counts a stream once
	}
	return fits(tier, missing, int64(replicas), accounts)
}

// accountInfo returns the limits and the use of the connection's account; nil if the user may
// not read them.
func accountInfo(ctx context.Context, js jetstream.JetStream) (*jetstream.AccountInfo, error) {
	asking, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := js.AccountInfo(asking)
	switch domain := js.Options().Domain; {
	case err == nil:
		return info, nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, jetstream.ErrJetStreamNotEnabled) && domain == "":
		return nil, fmt.Errorf("%w: JetStream is not enabled for the account of this user: enable it", ErrLimits)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return nil, fmt.Errorf("nobody answers for the JetStream domain %q: %w", domain, err)
	case ctx.Err() == nil && errors.Is(js.Conn().LastError(), nats.ErrPermissionViolation):
		return nil, nil
	}
	return nil, fmt.Errorf("reading the limits of the broker's account: %w", err)
}

// fits returns an error that wraps ErrLimits if missing streams or the consumers of accounts do
// not fit. A negative limit is none.
func fits(tier jetstream.Tier, missing []jetstream.StreamConfig, replicas int64, accounts int) error {
	limits, bytes := tier.Limits, int64(0)
	for _, config := range missing {
		bytes += max(config.MaxBytes, 0) * replicas
		bound := config.MaxBytes > 0
		switch {
		case !bound && limits.MaxBytesRequired:
			return fmt.Errorf("%w: it requires a maximum size of each stream, and stream %q has none: lift that limit (max_bytes)",
				ErrLimits, config.Name)
		case bound && limits.StoreMaxStreamBytes > 0 && config.MaxBytes > limits.StoreMaxStreamBytes:
			return fmt.Errorf("%w: a stream may have %d bytes, and stream %q has up to %d: raise that limit "+
				"(disk_max_stream_bytes), or lower ROOMLINK_MAX_BYTES", ErrLimits, limits.StoreMaxStreamBytes, config.Name, config.MaxBytes)
		}
	}
	free := limits.MaxStore - int64(max(tier.ReservedStore, tier.Store))
	switch {
	case limits.MaxStreams > 0 && tier.Streams+len(missing) > limits.MaxStreams:
		return fmt.Errorf("%w: it may have %d streams, has %d, and needs %d more: raise that limit (max_streams)",
			ErrLimits, limits.MaxStreams, tier.Streams, len(missing))
	case limits.MaxStore >= 0 && bytes > free:
		return fmt.Errorf("%w: %d of its %d bytes are free, and the missing streams need %d: raise that limit (max_store), "+
			"or lower ROOMLINK_MAX_BYTES", ErrLimits, max(free, 0), limits.MaxStore, bytes)
	case limits.MaxConsumers > 0 && accounts > limits.MaxConsumers:
		return fmt.Errorf("%w: stream %q may have %d consumers, and needs one for each of %d accounts: raise that limit (max_consumers)",
			ErrLimits, messages.ConversationsStream, limits.MaxConsumers, accounts)
	}
	return nil
}
