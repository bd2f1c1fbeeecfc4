package router

import (
	"context"
	"slices"
	"sync"
	"time"

	"vrouterd/internal/control/api"
)

const (
	keptEvents = 1024 // for `show events`
	// subscriberEvents is how far a reader may fall behind before it loses events.
	subscriberEvents = 256
)

// eventLog keeps the last events and hands new ones to whoever listens. Any goroutine
// may call it.
type eventLog struct {
	mu          sync.Mutex
	kept        []api.Event // a ring once it is full
	next        uint64
	subscribers map[*subscriber]struct{}
	closed      bool
}

type subscriber struct {
	c    chan api.Event
	lost uint64
}

func newEventLog() *eventLog { return &eventLog{subscribers: map[*subscriber]struct{}{}} }

// event records what happened, and logs it.
func (r *Router) event(kind, subject, message string, fields map[string]string) {
	r.log.Info(message, "event", kind)
	r.events.add(api.Event{Time: time.Now(), Kind: kind, Subject: subject, Message: message, Fields: fields})
}

// note records what happens all the time, such as a neighbour that is confirmed: it
// is in the event log, and in the log only when that is to say more.
func (r *Router) note(kind, subject, message string, fields map[string]string) {
	r.log.Debug(message, "event", kind)
	r.events.add(api.Event{Time: time.Now(), Kind: kind, Subject: subject, Message: message, Fields: fields})
}

func (l *eventLog) add(e api.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	e.Sequence = l.next
	if len(l.kept) < keptEvents {
		l.kept = append(l.kept, e)
	} else {
		l.kept[(l.next-1)%keptEvents] = e
	}
	for s := range l.subscribers {
		s.give(e)
	}
}

// give never waits: a reader that is too slow is told how much it has missed, once
// it has room again.
func (s *subscriber) give(e api.Event) {
	if s.lost > 0 {
		notice := api.Event{
			Sequence: e.Sequence, Time: e.Time, Kind: "events_lost",
			Message: "the reader was too slow: " + plural(int(s.lost), "event") + " lost",
		}
		if len(s.c) > cap(s.c)-2 {
			s.lost++
			return
		}
		s.c <- notice
		s.lost = 0
	}
	select {
	case s.c <- e:
	default:
		s.lost++
	}
}

// subscribe returns the kept events, oldest first, and a channel with those that follow.
func (l *eventLog) subscribe(ctx context.Context) ([]api.Event, <-chan api.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &subscriber{c: make(chan api.Event, subscriberEvents)}
	oldest := 0
	if len(l.kept) == keptEvents {
		oldest = int(l.next % keptEvents)
	}
	past := slices.Concat(l.kept[oldest:], l.kept[:oldest])
	if l.closed {
		close(s.c)
		return past, s.c
	}
	l.subscribers[s] = struct{}{}
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := l.subscribers[s]; ok {
			delete(l.subscribers, s)
			close(s.c)
		}
	})
	return past, s.c
}

// close ends all subscriptions.
func (l *eventLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for s := range l.subscribers {
		delete(l.subscribers, s)
		close(s.c)
	}
}

// Events is what has happened, and what happens next until ctx ends.
func (r *Router) Events(ctx context.Context) ([]api.Event, <-chan api.Event) {
	return r.events.subscribe(ctx)
}
