package router

import (
	"context"
	"fmt"
	"testing"

	"vrouterd/internal/control/api"
)

func TestTheLastEventsAreKeptInTheirOrder(t *testing.T) {
	for _, n := range []int{0, 1, keptEvents - 1, keptEvents, keptEvents + 1, 3*keptEvents - 7} {
		l := newEventLog()
		for i := range n {
			l.add(api.Event{Message: fmt.Sprint(i)})
		}
		ctx, cancel := context.WithCancel(t.Context())
		past, _ := l.subscribe(ctx)
		cancel()
		if len(past) != min(n, keptEvents) {
			t.Fatalf("%d events happened, %d are kept", n, len(past))
		}
		for i, e := range past {
			if want := n - len(past) + i; e.Message != fmt.Sprint(want) || e.Sequence != uint64(want+1) {
				t.Fatalf("of %d events, number %d of those kept is %s with sequence %d", n, i, e.Message, e.Sequence)
			}
		}
	}
}

func TestASlowReaderOfEventsIsToldWhatItMissed(t *testing.T) {
	l := newEventLog()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, events := l.subscribe(ctx)
	for range subscriberEvents + 10 {
		l.add(api.Event{Kind: "news"})
	}
	for range subscriberEvents {
		if e := <-events; e.Kind != "news" {
			t.Fatalf("got %+v", e)
		}
	}
	l.add(api.Event{Kind: "news"})
	if e := <-events; e.Kind != "events_lost" || e.Message != "the reader was too slow: 10 events lost" {
		t.Errorf("got %+v", e)
	}
	if e := <-events; e.Kind != "news" || e.Sequence != subscriberEvents+11 {
		t.Errorf("got %+v", e)
	}
	l.close()
	if _, more := <-events; more {
		t.Error("the stream goes on after the end")
	}
}
