package router

import (
	"sync"
	"time"

	"vrouterd/internal/packet"
)

// maxLimited bounds the addresses whose ICMP errors are counted one by one.
const maxLimited = 4096

// bucket is a token bucket: it holds up to a second's worth of tokens.
type bucket struct {
	tokens float64
	at     time.Time
}

// take refills the bucket and takes a token, if there is one.
func (b *bucket) take(now time.Time, perSecond int) bool {
	if perSecond == 0 {
		return true
	}
	depth := float64(perSecond)
	if b.at.IsZero() {
		b.tokens, b.at = depth, now
	} else if d := now.Sub(b.at); d > 0 { // two goroutines ask: their moments may cross
		b.tokens, b.at = min(depth, b.tokens+d.Seconds()*depth), now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// errorLimiter holds ICMP errors to so many a second, in all and to one address
// (RFC 1812 section 4.3.2.8). The limit for one address comes first, so that one
// noisy host cannot use up what all share. The control goroutine and that of the host
// stack share it, so it has a lock.
type errorLimiter struct {
	mu                   sync.Mutex
	rate, perDestination int // a second; 0: no limit
	all                  bucket
	rest                 bucket // shared by the addresses that find no room
	each                 map[packet.Addr]*bucket
	sent, held           uint64
	swept                time.Time // when each was last searched for room
	sweeps               int
}

func newErrorLimiter() *errorLimiter { return &errorLimiter{each: map[packet.Addr]*bucket{}} }

func (l *errorLimiter) set(rate, perDestination int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate, l.perDestination = rate, perDestination
}

// allow counts an error as sent, or as held back.
func (l *errorLimiter) allow(now time.Time, to packet.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	quiet := l.perDestination == 0 || l.of(now, to).take(now, l.perDestination)
	if quiet && l.all.take(now, l.rate) {
		l.sent++
		return true
	}
	l.held++
	return false
}

// refuse counts an error that is held back whatever the limits are.
func (l *errorLimiter) refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held++
}

// counts are the errors sent and held back.
func (l *errorLimiter) counts() (sent, held uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent, l.held
}

// of is the bucket of an address. When there is no room for another, those that have been
// quiet for a second, and so are full again, make way. They are looked for ten times a second
// at most: with forged sources every packet would come to a full table.
func (l *errorLimiter) of(now time.Time, to packet.Addr) *bucket {
	if b := l.each[to]; b != nil {
		return b
	}
	if len(l.each) >= maxLimited && now.Sub(l.swept) >= time.Second/10 {
		l.swept = now
		l.sweeps++
		for a, b := range l.each {
			if now.Sub(b.at) >= time.Second {
				delete(l.each, a)
			}
		}
	}
	if len(l.each) >= maxLimited {
		return &l.rest
	}
	b := &bucket{}
	l.each[to] = b
	return b
}
