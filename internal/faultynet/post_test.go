package faultynet_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"roomlink/internal/roomlinktest"
)

// answer is the answer to an event.
type answer struct {
	id         string
	status     int
	retryAfter string
	took       time.Duration
	// lost is how long the machine stalled the test meanwhile.
	lost time.Duration
}

// stored reports whether the event was answered 2xx.
func (a answer) stored() bool { return a.status/100 == 2 }

// post posts an event and checks its answer.
func (s *system) post(id string) answer {
	s.tb.Helper()
	body := fmt.Sprintf(`{"event":"inbound_call_starts","interaction_id":%q,"contact_id":"contact-1"}`, id)
	a := s.send("/talkdesk/events", id, body)
	s.wantInTime(a)
	return a
}

// send posts a body to the webhook.
func (s *system) send(path, id, body string) answer {
	s.tb.Helper()
	request, err := http.NewRequestWithContext(s.tb.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.tb.Fatalf("making a request: %v", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", apiKey)
	began, lost := time.Now(), machine.measure()
	response, err := s.client.Do(request)
	if err != nil {
		s.tb.Errorf("posting %q: got error %v, want an answer", id, err)
		return answer{id: id}
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return answer{id, response.StatusCode, response.Header.Get("Retry-After"), time.Since(began), lost()}
}

// wantInTime checks that an answer is in time, and 2xx or 503 with Retry-After.
func (s *system) wantInTime(a answer) {
	s.tb.Helper()
	if a.took-a.lost > answerTimeout {
		s.tb.Errorf("posting %q: got %d after %v, including stalls of %v, want an answer within %v",
			a.id, a.status, a.took, a.lost, answerTimeout)
	}
	if refused := a.status == http.StatusServiceUnavailable && a.retryAfter != ""; !a.stored() && !refused {
		s.tb.Errorf("posting %q: got %d with Retry-After %q, want 2xx, or 503 with Retry-After", a.id, a.status, a.retryAfter)
	}
}

// flood posts events concurrently and returns the stored and the refused ones.
func (s *system) flood(prefix string, count, concurrency int) (stored, refused []string) {
	s.tb.Helper()
	answers := make([]answer, count)
	s.inParallel(count, concurrency, func(i int) { answers[i] = s.post(fmt.Sprintf("%s-%d", prefix, i)) })
	return s.split(prefix, answers)
}

// spread posts events at regular intervals and does not wait for answers in between.
func (s *system) spread(prefix string, count int, over time.Duration) (stored, refused []string) {
	s.tb.Helper()
	answers := make([]answer, count)
	var posting sync.WaitGroup
	ticker := time.NewTicker(over / time.Duration(count))
	defer ticker.Stop()
	for i := range count {
		<-ticker.C
		posting.Go(func() { answers[i] = s.post(fmt.Sprintf("%s-%d", prefix, i)) })
	}
	posting.Wait()
	return s.split(prefix, answers)
}

// split returns the stored and the refused events.
func (s *system) split(what string, answers []answer) (stored, refused []string) {
	s.tb.Helper()
	var slowest time.Duration
	for _, a := range answers {
		slowest = max(slowest, a.took)
		if a.stored() {
			stored = append(stored, a.id)
		} else {
			refused = append(refused, a.id)
		}
	}
	s.tb.Logf("%s: %d stored, %d refused, the slowest answer after %v", what, len(stored), len(refused), slowest)
	return stored, refused
}

// mustStore posts an event until it is stored. It waits for the time in Retry-After.
func (s *system) mustStore(id string) {
	s.tb.Helper()
	for ctx := roomlinktest.Context(s.tb); ; {
		a := s.post(id)
		if a.stored() {
			return
		}
		seconds, _ := strconv.Atoi(a.retryAfter)
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-ctx.Done():
			s.tb.Fatalf("posting %q: got 503 only, want 2xx after the network has recovered", id)
		}
	}
}

// inParallel calls do(0) to do(count-1) from several goroutines.
func (s *system) inParallel(count, concurrency int, do func(int)) {
	numbers := make(chan int)
	var working sync.WaitGroup
	for range concurrency {
		working.Go(func() {
			for i := range numbers {
				do(i)
			}
		})
	}
	for i := range count {
		numbers <- i
	}
	close(numbers)
	working.Wait()
}
