package main

import (
	"testing"
	"time"
)

const sample = `Running: perfdhcp -4 -l eth0 -r 20 -n 3 -R 1000 -x t
***Rate statistics***
Rate: 17.9418 4-way exchanges/second, expected rate: 20

***Malformed Packets***
Malformed packets: 0
***Statistics for: DISCOVER-OFFER***
sent packets: 3
received packets: 3
drops: 0

***Statistics for: REQUEST-ACK***
sent packets: 3
received packets: 2
drops: 1

***Timestamps for packets: DISCOVER-OFFER***
sent / received: 000000.000100 / 000000.000300
sent / received: 000000.100000 / 000000.100400
sent / received: 000000.200000 / 000000.200200

***Timestamps for packets: REQUEST-ACK***
sent / received: 000000.000310 / 000000.001100
sent / received: 000000.200210 / 000000.200500
`

func TestReportOfPerfdhcpIsRead(t *testing.T) {
	got, err := parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	if got.sent != 3 || got.requests != 3 || got.complete != 2 {
		t.Errorf("sent %d, requests %d, complete %d", got.sent, got.requests, got.complete)
	}
	if got.held() {
		t.Error("two of three are not all")
	}
	// The last answer came, and was not heard: the server has held the rate, and given three leases.
	if got.deaf = 1; !got.held() || got.given() != 3 {
		t.Errorf("with one that was not heard: held %v, given %d", got.held(), got.given())
	}
	if len(got.delays) != 2 || got.delays[0].Round(time.Microsecond) != 500*time.Microsecond || got.delays[1].Round(time.Microsecond) != time.Millisecond {
		t.Errorf("delays %v", got.delays)
	}
	if _, err := parse("nothing"); err == nil {
		t.Error("expected an error")
	}
}

func TestQuantilesAreOfTheSortedDelays(t *testing.T) {
	got := trial{delays: []time.Duration{1, 2, 3, 4, 5}}
	if got.delay(0.5) != 3 || got.delay(1) != 5 || (trial{}).delay(0.5) != 0 {
		t.Error("wrong quantiles")
	}
}

func TestFullSocketsAreCounted(t *testing.T) {
	got, err := receiveErrors("Tcp: A B\nTcp: 1 2\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\nUdp: 5 0 0 7 3 0\nUdpLite: RcvbufErrors\nUdpLite: 9\n")
	if err != nil || got != 3 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := receiveErrors(""); err == nil {
		t.Error("expected an error")
	}
}
