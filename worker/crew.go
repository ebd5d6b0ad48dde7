package worker

import "sync"

// mostIdle bounds the goroutines of a crew that wait for something to do. It is twice
// what one pull brings.
const mostIdle = 2 * pullMost

// crew works on the events of all accounts, each in a goroutine. One that has finished takes on the next
// event, as its stack has grown to what the work needs.
type crew struct {
	events chan func()
	idle   chan struct{} // holds a token for each that waits
	closed chan struct{}
	group  sync.WaitGroup
}

func newCrew() *crew {
	return &crew{events: make(chan func()), idle: make(chan struct{}, mostIdle), closed: make(chan struct{})}
}

// do has work done, and does not wait for it.
func (c *crew) do(work func()) {
	select {
	case c.events <- work:
	default:
		c.group.Go(func() { c.keepWorking(work) })
	}
}

func (c *crew) keepWorking(work func()) {
	for {
		work()
		select {
		case c.idle <- struct{}{}:
		default:
			return // enough wait already
		}
		select {
		case work = <-c.events:
			<-c.idle
		case <-c.closed:
			return
		}
	}
}

// close waits until all work is done, of which no more may come.
func (c *crew) close() {
	close(c.closed)
	c.group.Wait()
}
