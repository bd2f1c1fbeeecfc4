package main

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ppsResult and rttResult are what bench/pps and bench/rtt print.
type ppsResult struct {
	Delivered uint64  `json:"delivered"`
	PPS       float64 `json:"delivered_pps"`
	SentPPS   float64 `json:"sent_pps"`
	Loss      float64 `json:"loss"`
	Dropped   uint64  `json:"sink_dropped"`
	Busy      float64 `json:"busy_seconds"`
	Router    float64 `json:"router_seconds"`
}

type rttResult struct {
	Samples int     `json:"samples"`
	Median  float64 `json:"median_us"`
	P99     float64 `json:"p99_us"`
}

type iperfResult struct {
	Error string `json:"error"`
	End   struct {
		Received struct {
			Bits float64 `json:"bits_per_second"`
		} `json:"sum_received"`
	} `json:"end"`
}

// parseIperf returns the bits a second that the server received.
func parseIperf(text []byte) (float64, error) {
	var r iperfResult
	if err := json.Unmarshal(text, &r); err != nil {
		return 0, fmt.Errorf("iperf3 printed no JSON: %w", err)
	}
	switch {
	case r.Error != "":
		return 0, fmt.Errorf("iperf3: %s", r.Error)
	case r.End.Received.Bits <= 0:
		return 0, errors.New("iperf3 received nothing")
	}
	return r.End.Received.Bits, nil
}

// iperfError is the error that iperf3 wrote into its JSON, if there is one.
func iperfError(text []byte) string {
	var r iperfResult
	if json.Unmarshal(text, &r) != nil {
		return ""
	}
	return r.Error
}

func parsePPS(text []byte) (ppsResult, error) {
	var r ppsResult
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("pps printed no JSON: %w", err)
	}
	if r.Delivered == 0 {
		return r, errors.New("pps: no packet was delivered")
	}
	return r, nil
}

func parseRTT(text []byte) (rttResult, error) {
	var r rttResult
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("rtt printed no JSON: %w", err)
	}
	if r.Samples == 0 {
		return r, errors.New("rtt: no reply")
	}
	return r, nil
}
