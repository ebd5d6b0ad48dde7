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

// chaos kills processes at random and starts them again, until the context ends. It
// spares auvious and an external broker.
func (p *processes) chaos(ctx context.Context) {
	seed := p.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	fmt.Fprintf(p.env.Stderr, "chaos: --seed=%d\n", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	var victims []*load.Process
	for _, child := range p.children {
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
		p.kills.Add(1)
		if victim.Name != "webhook" {
			p.severe.Add(1)
		}
		err := victim.Kill()
		if err == nil {
			err = victim.Start(context.WithoutCancel(ctx))
		}
		if err != nil {
			fmt.Fprintf(p.env.Stderr, "chaos: %v\n", err)
			return
		}
		fmt.Fprintf(p.env.Stderr, "chaos: killed and restarted %s\n", victim.Name)
	}
}
