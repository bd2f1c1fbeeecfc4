package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/bench/internal/netnsock"
	"vrouterd/bench/internal/site"
)

// absorb lets one router hear many routes from a neighbour and takes the processor time of all
// its processes for that: from the first packet until a second after the last, with
// what the router says in turn. The pace is one that all contenders' receive buffers
// hold: 10 packets, then 50 ms. On a machine with other work a receiver may get no processor for so long
// that it loses some all the same: then it is done once more.
func (l *lab) absorb(name string, routes int) (used time.Duration, err error) {
	for range 3 {
		if used, err = l.absorbOnce(name, routes); !errors.Is(err, errLost) {
			break
		}
		l.Close()
	}
	return used, err
}

var errLost = errors.New("packets were lost on the way")

func (l *lab) absorbOnce(name string, routes int) (time.Duration, error) {
	c, err := l.newContender(name, topology{single: true})
	if err != nil {
		return 0, err
	}
	if err := c.start(); err != nil {
		return 0, err
	}
	if err := l.Rest(3 * time.Second); err != nil { // what the start itself costs is over
		return 0, err
	}
	fd, err := netnsock.Open(c.neighborNamespace(), unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error {
		return unix.Bind(fd, &unix.SockaddrInet4{Port: 520, Addr: [4]byte{10, 9, 1, 2}})
	})
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	send := func(first, n int) error {
		b := []byte{2, 2, 0, 0}
		for i := first; i < first+n; i++ {
			b = append(b, 0, 2, 0, 0, 100, 64+byte(i>>16), byte(i>>8), byte(i), 255, 255, 255, 255, 0, 0, 0, 0)
			b = binary.BigEndian.AppendUint32(b, 1)
		}
		return unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Port: 520, Addr: [4]byte{10, 9, 1, 1}})
	}
	before, err := site.ProcessorTime(c.processes()...)
	if err != nil {
		return 0, err
	}
	for first, sent := 0, 0; first < routes; first += 25 {
		if err := send(first, min(25, routes-first)); err != nil {
			return 0, fmt.Errorf("send routes: %w", err)
		}
		if sent++; sent%10 == 0 {
			if err := l.Rest(50 * time.Millisecond); err != nil {
				return 0, err
			}
		}
	}
	if err := l.Rest(time.Second); err != nil {
		return 0, err
	}
	after, err := site.ProcessorTime(c.processes()...)
	if err != nil {
		return 0, err
	}
	have, err := c.learned()
	if err == nil && have < routes {
		err = fmt.Errorf("only %d were learned: %w", have, errLost)
	}
	return after - before, err
}
