package arp

import "time"

// Config holds the machine's choices. A zero (or negative) field takes its default.
type Config struct {
	// Reachable is how long a confirmed neighbour counts as reachable, times a random
	// factor from 0.5 to 1.5 drawn at each confirmation (RFC 4861 section 6.3.2, as Linux
	// applies it to ARP). Default 30s, at least 10ms.
	Reachable time.Duration
	// Retransmit is the pause between two requests for one address, and by that the most
	// often that one is asked (RFC 1122 section 2.3.2.1). Default 1s, at least 10ms.
	Retransmit time.Duration
	// BroadcastTries is how many requests go unanswered before resolution fails. Default 3.
	BroadcastTries int
	// Delay is how long a used stale neighbour may be confirmed by the traffic itself before it
	// is probed. Default 5s, at least 10ms.
	Delay time.Duration
	// UnicastProbes is how many probes go unanswered before a neighbour has failed. Default 3.
	UnicastProbes int
	// StaleHold is how long an unused stale neighbour is remembered. Default 10m, at least 10ms.
	StaleHold time.Duration
	// FailedHold is how long a failed neighbour stays listed. Default 30s, at least 10ms.
	FailedHold time.Duration
	// LockTime is how long after an update another station's differing claim to the same address
	// is ignored, unless it is an announcement. Default 1s.
	LockTime time.Duration

	// MaxNeighbors bounds the dynamic neighbours on all ports. Default 16384, at least 8.
	MaxNeighbors int
	// MaxUnresolved is the part of MaxNeighbors that incomplete and failed entries may take.
	// Default a quarter, at most 1024; at most half of MaxNeighbors.
	MaxUnresolved int
	// MaxWaitingPackets bounds the packets that wait for one neighbour; a further one pushes
	// the oldest out. Default 16.
	MaxWaitingPackets int
	// MaxWaitingBytes bounds the octets of all waiting packets. Default 4 MiB.
	MaxWaitingBytes int
	// RequestRate is how many broadcast requests a second leave, all ports together. Default 500.
	RequestRate int
	// RequestBurst is how many may leave at once after a quiet time. Default 100.
	RequestBurst int

	// MatchSource refuses packets whose ARP sender is not the frame's source address. Off by
	// default: stations behind some redundancy protocols and wireless bridges differ legitimately.
	MatchSource bool
}

// shortest is the least that a timer may be set to: it keeps a misconfigured machine from spinning.
const shortest = 10 * time.Millisecond

// withDefaults is c with every field set and within its range.
func (c Config) withDefaults() Config {
	span := func(d *time.Duration, standard time.Duration) {
		if *d <= 0 {
			*d = standard
		}
		*d = max(*d, shortest)
	}
	count := func(n *int, standard int) {
		if *n <= 0 {
			*n = standard
		}
	}
	span(&c.Reachable, 30*time.Second)
	span(&c.Retransmit, time.Second)
	span(&c.Delay, 5*time.Second)
	span(&c.StaleHold, 10*time.Minute)
	span(&c.FailedHold, 30*time.Second)
	span(&c.LockTime, time.Second)
	count(&c.BroadcastTries, 3)
	count(&c.UnicastProbes, 3)
	count(&c.MaxNeighbors, 16384)
	c.MaxNeighbors = max(c.MaxNeighbors, 8)
	count(&c.MaxUnresolved, min(c.MaxNeighbors/4, 1024))
	c.MaxUnresolved = min(c.MaxUnresolved, c.MaxNeighbors/2)
	count(&c.MaxWaitingPackets, 16)
	count(&c.MaxWaitingBytes, 4<<20)
	count(&c.RequestRate, 500)
	count(&c.RequestBurst, 100)
	return c
}

// Constants of RFC 5227 section 1.1.
const (
	probeWait         = time.Second      // PROBE_WAIT: random delay before the first probe
	probeNum          = 3                // PROBE_NUM
	probeMin          = time.Second      // PROBE_MIN
	probeMax          = 2 * time.Second  // PROBE_MAX
	announceWait      = 2 * time.Second  // ANNOUNCE_WAIT: after the last probe
	announceNum       = 2                // ANNOUNCE_NUM
	announceInterval  = 2 * time.Second  // ANNOUNCE_INTERVAL
	defendInterval    = 10 * time.Second // DEFEND_INTERVAL
	rateLimitInterval = 60 * time.Second // RATE_LIMIT_INTERVAL: before an address in conflict is tried again
)
