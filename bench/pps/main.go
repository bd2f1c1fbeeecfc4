// Command pps measures how many small UDP packets a second a router delivers.
//
// It opens one socket in the sender's network namespace and one in the
// receiver's, floods, and counts what the receiver's socket handed to user
// space: delivered, not sent. Both ends live in one process, so that they
// agree on when the measurement begins and ends.
//
//	pps -from NETNS -to NETNS -dst ADDRESS -time 5s
//
// The sender is a connected UDP socket driven with sendmmsg(2): 22 octets of
// payload, 8 of UDP, 20 of IPv4 and 14 of Ethernet make the 64-octet frame.
// The kernel's UDP path costs the sender well under a microsecond a packet
// as long as the device only has to queue it, so towards a TAP the generator
// outruns any router on the same machine, and the ring's tail drop shows as
// loss. Towards a veth the kernel forwards and delivers within the sender's
// own system call: there the sender cannot outrun the router, it is the router.
//
// With -rate the sender keeps to that many packets a second, which is how
// processor time a packet is compared at one and the same load.
//
// The result is one JSON object on standard output.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/bench/internal/netnsock"
)

// result of one run; the runner decodes the same keys.
type result struct {
	Seconds   float64 `json:"seconds"`
	Sent      uint64  `json:"sent"`
	Delivered uint64  `json:"delivered"`
	PPS       float64 `json:"delivered_pps"`
	SentPPS   float64 `json:"sent_pps"`
	Loss      float64 `json:"loss"` // fraction of the packets sent

	// Dropped counts packets that the router delivered and the sink was too
	// slow to take: when it is not next to nothing, the sink was measured.
	Dropped uint64 `json:"sink_dropped"`

	// Busy and Router are processor time within the measured time, in
	// seconds: of the whole machine without idle, iowait and steal, and of the process -pid.
	Busy   float64 `json:"busy_seconds"`
	Router float64 `json:"router_seconds"`
}

func main() {
	var (
		from    = flag.String("from", "", "network namespace of the sender: a name of `ip netns`, or a path")
		to      = flag.String("to", "", "network namespace of the receiver")
		dst     = flag.String("dst", "", "address of the receiver")
		port    = flag.Int("port", 9000, "UDP port of the receiver")
		length  = flag.Duration("time", 5*time.Second, "measured time")
		warmup  = flag.Duration("warmup", 200*time.Millisecond, "time before counting starts")
		payload = flag.Int("payload", 22, "UDP payload in octets; 22 makes a 64-octet Ethernet frame")
		rate    = flag.Int("rate", 0, "packets a second; 0: as many as possible")
		pid     = flag.Int("pid", 0, "process whose processor time is to be reported; 0: none")
		batch   = flag.Int("batch", 64, "packets in one system call")
	)
	flag.Parse()
	addr, err := netip.ParseAddr(*dst)
	if err == nil && !addr.Is4() {
		err = fmt.Errorf("-dst %s is not an IPv4 address", *dst)
	}
	if err == nil {
		err = run(config{
			from: *from, to: *to, dst: netip.AddrPortFrom(addr, uint16(*port)),
			length: *length, warmup: *warmup,
			payload: *payload, rate: *rate, batch: *batch, pid: *pid,
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pps:", err)
		os.Exit(1)
	}
}

type config struct {
	from, to       string
	dst            netip.AddrPort
	length, warmup time.Duration
	payload        int
	rate           int
	batch          int
	pid            int
}

func run(c config) error {
	// The two loops below sit in raw system calls and never meet the
	// scheduler; a collection would wait for them for ever.
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(4)

	sink, err := netnsock.Open(c.to, unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error {
		// As much as the host allows: a sink that is scheduled away for a
		// few milliseconds must not be what loses packets.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
			return fmt.Errorf("raise the receive buffer: %w", err)
		}
		// The loop looks at the stop flag at least every 50 ms.
		tv := unix.Timeval{Usec: 50_000}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return fmt.Errorf("set the receive timeout: %w", err)
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Port: int(c.dst.Port()), Addr: c.dst.Addr().As4()})
	})
	if err != nil {
		return fmt.Errorf("receiver in namespace %s: %w", c.to, err)
	}
	source, err := netnsock.Open(c.from, unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error {
		return unix.Connect(fd, &unix.SockaddrInet4{Port: int(c.dst.Port()), Addr: c.dst.Addr().As4()})
	})
	if err != nil {
		return fmt.Errorf("sender in namespace %s: %w", c.from, err)
	}

	var sent, delivered atomic.Uint64
	var stop atomic.Bool
	failed := make(chan error, 2)
	go func() { failed <- receive(sink, c.batch, &delivered, &stop) }()
	go func() { failed <- send(source, c, &sent, &stop) }()

	select {
	case err := <-failed:
		return err
	case <-time.After(c.warmup):
	}
	before, err := processorTime(c.pid)
	if err != nil {
		return err
	}
	dropped, err := drops(sink)
	if err != nil {
		return err
	}
	s0, d0, t0 := sent.Load(), delivered.Load(), time.Now()
	select {
	case err := <-failed:
		return err
	case <-time.After(c.length):
	}
	s1, d1, took := sent.Load(), delivered.Load(), time.Since(t0).Seconds()
	after, err := processorTime(c.pid)
	if err != nil {
		return err
	}
	droppedAfter, err := drops(sink)
	if err != nil {
		return err
	}
	stop.Store(true)

	r := result{Seconds: took, Sent: s1 - s0, Delivered: d1 - d0, Dropped: uint64(droppedAfter - dropped)}
	r.Busy, r.Router = after.busy-before.busy, after.router-before.router
	r.PPS, r.SentPPS = float64(r.Delivered)/took, float64(r.Sent)/took
	if r.Sent > r.Delivered {
		r.Loss = 1 - float64(r.Delivered)/float64(r.Sent)
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
