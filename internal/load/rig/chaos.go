package rig

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"roomlink/internal/load"
)

// The time between two kills.
const (
	minCalm = time.Second
	maxCalm = 4 * time.Second
)

// chaos kills processes at random and starts them again, until the context ends. It spares auvious and an
// external broker.
func (s *system) chaos(ctx context.Context) {
	seed := s.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	fmt.Fprintf(s.env.Stderr, "chaos: --seed=%d\n", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	var victims []*load.Process
	for _, child := range s.children {
		if child.Name != "auvious" {
			victims = append(victims, child)
		}
	}
	for {
		calm := minCalm + time.Duration(random.Int64N(int64(maxCalm-minCalm)))
		victim := victims[random.IntN(len(victims))]
		select {
		case <-ctx.Done():
			return
		case <-time.After(calm):
		}
		s.kills++
		if victim.Name != "webhook" {
			s.severeKills++
		}
		err := victim.Kill()
		if err == nil {
			err = victim.Start(context.WithoutCancel(ctx))
		}
		if err != nil {
			fmt.Fprintf(s.env.Stderr, "chaos: %v\n", err)
			return
		}
		fmt.Fprintf(s.env.Stderr, "chaos: killed and restarted %s\n", victim.Name)
	}
}
