// Command rtt measures round trips through a router, one at a time.
//
// It sends an ICMP echo request from the sender's network namespace, waits
// for the reply that the far host's kernel gives, notes the time, rests for
// -gap and begins again. The rest matters: a router that has just forwarded a packet
// may still be spinning, and only one that has gone to sleep shows what the
// wake-up costs. With -gap 0 the next request leaves at once.
//
//	rtt -netns NETNS -dst ADDRESS -time 5s -gap 500us
//
// Times are taken in user space around the two system calls, so they hold the
// sender's own wake-up too; that part is the same for every router.
// The result is one JSON object on standard output, times in microseconds.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// result of one run; the runner decodes the same keys.
type result struct {
	Samples int     `json:"samples"`
	Lost    int     `json:"lost"`
	Min     float64 `json:"min_us"`
	Median  float64 `json:"median_us"`
	P90     float64 `json:"p90_us"`
	P99     float64 `json:"p99_us"`
	Max     float64 `json:"max_us"`
}

func main() {
	var (
		ns     = flag.String("netns", "", "network namespace of the sender: a name of `ip netns`, or a path")
		dst    = flag.String("dst", "", "address of the far host")
		length = flag.Duration("time", 5*time.Second, "measured time")
		warmup = flag.Duration("warmup", 100*time.Millisecond, "time before counting starts")
		gap    = flag.Duration("gap", 500*time.Microsecond, "rest between a reply and the next request")
	)
	flag.Parse()
	addr, err := netip.ParseAddr(*dst)
	if err == nil && !addr.Is4() {
		err = fmt.Errorf("-dst %s is not an IPv4 address", *dst)
	}
	var r result
	if err == nil {
		r, err = measure(*ns, addr, *warmup, *length, *gap)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rtt:", err)
		os.Exit(1)
	}
}
