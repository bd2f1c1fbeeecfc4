package main

import (
	"cmp"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"vrouterd/bench/internal/site"
)

// trial is what became of the exchanges that perfdhcp began.
type trial struct {
	sent      int // DISCOVERs
	requests  int // REQUESTs: exchanges whose OFFER was heard
	complete  int // ACKs
	deaf      int // answers that came, and found perfdhcp's socket full
	delays    []time.Duration
	processor time.Duration // of the server
}

// held tells whether the server answered 99 of 100.
func (t trial) held() bool { return float64(t.complete+t.deaf) >= 0.99*float64(t.sent) }

// given are the leases of a trial that was held: whether perfdhcp heard the last answer or not.
func (t trial) given() int { return min(t.requests, t.complete+t.deaf) }

// delay is a quantile of the times from DISCOVER to ACK.
func (t trial) delay(q float64) time.Duration {
	if len(t.delays) == 0 {
		return 0
	}
	return t.delays[int(q*float64(len(t.delays)-1))]
}

// errClock is a slip of perfdhcp 2.2: of its two threads one may note that an answer came before the other has noted that its question left.
// It gives up then.
var errClock = errors.New("perfdhcp has an answer from before its question")

// trial tries a rate, once more where perfdhcp gives up.
func (l *lab) trial(name string, rate, seconds int, delays bool) (t trial, err error) {
	for range 5 {
		if t, err = l.trialOnce(name, rate, seconds, delays); !errors.Is(err, errClock) {
			break
		}
	}
	return t, err
}

// trialOnce starts a contender with no leases, has perfdhcp begin exchanges at a rate, and ends the contender.
func (l *lab) trialOnce(name string, rate, seconds int, delays bool) (t trial, err error) {
	defer l.Close()
	s, err := l.newServer(name)
	if err != nil {
		return t, err
	}
	before, err := site.ProcessorTime(s)
	if err != nil {
		return t, err
	}
	// A second after the last DISCOVER whatever has not come is lost.
	args := []string{"-4", "-l", "eth0", "-r", strconv.Itoa(rate), "-p", strconv.Itoa(seconds), "-R", "1000000", "-W", "1000000", "-g", "single"}
	if delays {
		args = append(args, "-x", "t")
	}
	text, err := l.perfdhcp(args...)
	if err != nil {
		return t, err
	}
	if err := l.Alive(); err != nil {
		return t, err
	}
	if t, err = parse(text); err != nil {
		return t, err
	}
	after, err := site.ProcessorTime(s)
	if err != nil {
		return t, err
	}
	t.processor = after - before
	snmp, err := l.Run(l.client, "cat", "/proc/net/snmp")
	if err != nil {
		return t, fmt.Errorf("read the counters of the generator's namespace: %w", err)
	}
	t.deaf, err = receiveErrors(string(snmp))
	return t, err
}

// receiveErrors are the datagrams that found a full socket, from the text of /proc/net/snmp.
func receiveErrors(snmp string) (int, error) {
	var names []string
	for line := range strings.Lines(snmp) {
		field := strings.Fields(line)
		switch {
		case len(field) == 0 || field[0] != "Udp:":
		case names == nil:
			names = field
		default:
			if at := slices.Index(names, "RcvbufErrors"); at > 0 && at < len(field) {
				return strconv.Atoi(field[at])
			}
		}
	}
	return 0, errors.New("/proc/net/snmp has no RcvbufErrors of UDP")
}

// perfdhcp runs the generator. That exchanges were not complete is no error here.
func (l *lab) perfdhcp(args ...string) (string, error) {
	text, err := l.Run(l.client, "perfdhcp", args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 && l.ctx.Err() == nil {
		err = nil
	}
	if err != nil && strings.Contains(text, "timestamp must not be greater") {
		return "", errClock
	}
	return text, err
}

// stamp is when a packet left, and when its answer came, in perfdhcp's time.
type stamp struct{ sent, received time.Duration }

// parse reads perfdhcp's report.
func parse(report string) (t trial, err error) {
	var exchange string
	stamps := map[string][]stamp{}
	numbers := map[string]int{}
	for line := range strings.Lines(report) {
		line = strings.TrimSpace(line)
		if title, found := strings.CutPrefix(line, "***"); found {
			_, exchange, _ = strings.Cut(strings.TrimRight(title, "*:"), ": ")
			exchange = strings.TrimRight(exchange, "*")
			continue
		}
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "sent packets", "received packets":
			if numbers[exchange+" "+key], err = strconv.Atoi(value); err != nil {
				return t, fmt.Errorf("perfdhcp: %q: %w", line, err)
			}
		case "sent / received":
			sent, received, _ := strings.Cut(value, " / ")
			a, errA := seconds(sent)
			b, errB := seconds(received)
			if err := errors.Join(errA, errB); err != nil {
				return t, fmt.Errorf("perfdhcp: %q: %w", line, err)
			}
			stamps[exchange] = append(stamps[exchange], stamp{a, b})
		}
	}
	sent, there := numbers["DISCOVER-OFFER sent packets"]
	if !there {
		return t, fmt.Errorf("perfdhcp tells of no exchanges: %s", report)
	}
	t.sent, t.requests, t.complete = sent, numbers["REQUEST-ACK sent packets"], numbers["REQUEST-ACK received packets"]
	t.delays = fourWay(stamps["DISCOVER-OFFER"], stamps["REQUEST-ACK"])
	return t, nil
}

// seconds reads perfdhcp's "000001.250000".
func seconds(text string) (time.Duration, error) {
	s, err := strconv.ParseFloat(text, 64)
	return time.Duration(s * float64(time.Second)), err
}

// fourWay puts the halves of exchanges together: perfdhcp sends a REQUEST as soon as it has the OFFER, in the order in which they come.
// The times from DISCOVER to ACK come back sorted.
func fourWay(offers, acks []stamp) (delays []time.Duration) {
	slices.SortFunc(offers, func(a, b stamp) int { return cmp.Compare(a.received, b.received) })
	slices.SortFunc(acks, func(a, b stamp) int { return cmp.Compare(a.sent, b.sent) })
	next := 0
	for i, ack := range acks {
		// Where an exchange broke off, its OFFER belongs to no ACK here: it is passed over when there are later ones before this REQUEST.
		for len(offers)-next > len(acks)-i && next+1 < len(offers) && offers[next+1].received <= ack.sent {
			next++
		}
		if next == len(offers) {
			break
		}
		delays = append(delays, ack.received-offers[next].sent)
		next++
	}
	slices.Sort(delays)
	return delays
}
