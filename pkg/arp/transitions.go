package arp

import "strings"

// input is what may happen to one neighbour.
type input uint8

const (
	inResolve   input = iota // the dataplane has no adjacency and wants one
	inUsed                   // the adjacency carried traffic
	inConfirmed              // an upper layer got something back
	inAnswer                 // the station answered a request of ours
	inHeard                  // the station was heard, with the hardware address we know or as new
	inMoved                  // the station was heard with another hardware address
	inTimeout                // the state's time is over, and there are tries left
	inSpent                  // the state's time is over, and there are none
	inFix                    // the operator made it permanent
	numInputs
)

var inputNames = [numInputs]string{"resolve", "used", "confirmed", "answer", "heard", "moved", "timeout", "spent", "fix"}

func (i input) String() string { return inputNames[i] }

// step is what a transition does, a set of bits; neighbor.go carries them out in this order.
type step uint16

const (
	stepBind    step = 1 << iota // take the hardware address; tell the dataplane if it is news
	stepRebind                   // tell the dataplane again: it has lost the adjacency
	stepUnbind                   // forget the hardware address; tell the dataplane
	stepConfirm                  // note the time as that of the last confirmation
	stepEnter                    // enter the next state afresh, also when it is the same one: tries 0, timer armed
	stepRelease                  // give back the waiting packets to be sent
	stepAbandon                  // give back the waiting packets as undeliverable
	stepWatch                    // ask to be told when the adjacency is used
	stepAsk                      // broadcast a request
	stepProbe                    // unicast a request
	stepForget                   // delete the neighbour
	numSteps    = iota
)

var stepNames = [numSteps]string{"bind", "rebind", "unbind", "confirm", "enter", "release", "abandon", "watch", "ask", "probe", "forget"}

func (s step) String() string {
	var names []string
	for i, name := range stepNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

// transition is one cell of the table. The zero transition: nothing happens.
type transition struct {
	do   step
	next State
}

// The common right-hand sides.
const (
	sendAgain = stepRebind | stepRelease
	confirm   = stepBind | stepConfirm | stepEnter | stepRelease
	learn     = stepBind | stepEnter | stepWatch | stepRelease
)

// transitions is the neighbour state machine. A station that is only heard has shown that it
// exists, not that it hears us, hence stale (RFC 4861 appendix C, as Linux applies it to ARP).
var transitions = [numStates][numInputs]transition{
	StateNone: {
		inResolve: {stepEnter | stepAsk, StateIncomplete},
		inHeard:   {learn, StateStale},
		inFix:     {stepBind | stepEnter, StatePermanent},
	},
	StateIncomplete: {
		inAnswer:  {confirm, StateReachable},
		inHeard:   {learn, StateStale},
		inTimeout: {stepAsk, StateIncomplete},
		inSpent:   {stepEnter | stepAbandon, StateFailed},
		inFix:     {stepBind | stepEnter | stepRelease, StatePermanent},
	},
	StateReachable: {
		inResolve:   {sendAgain, StateReachable},
		inConfirmed: {stepConfirm | stepEnter, StateReachable},
		inAnswer:    {confirm, StateReachable},
		inMoved:     {learn, StateStale},
		inSpent:     {stepEnter | stepWatch, StateStale},
		inFix:       {stepBind | stepEnter, StatePermanent},
	},
	StateStale: {
		inResolve:   {stepEnter | sendAgain, StateDelay},
		inUsed:      {stepEnter, StateDelay},
		inConfirmed: {stepConfirm | stepEnter, StateReachable},
		inAnswer:    {confirm, StateReachable},
		inHeard:     {stepEnter, StateStale},
		inMoved:     {learn, StateStale},
		inSpent:     {stepUnbind | stepForget, StateNone},
		inFix:       {stepBind | stepEnter, StatePermanent},
	},
	StateDelay: {
		inResolve:   {sendAgain, StateDelay},
		inConfirmed: {stepConfirm | stepEnter, StateReachable},
		inAnswer:    {confirm, StateReachable},
		inMoved:     {learn, StateStale},
		inSpent:     {stepEnter | stepProbe, StateProbe},
		inFix:       {stepBind | stepEnter, StatePermanent},
	},
	StateProbe: {
		inResolve:   {sendAgain, StateProbe},
		inConfirmed: {stepConfirm | stepEnter, StateReachable},
		inAnswer:    {confirm, StateReachable},
		inMoved:     {learn, StateStale},
		inTimeout:   {stepProbe, StateProbe},
		inSpent:     {stepUnbind | stepEnter, StateFailed},
		inFix:       {stepBind | stepEnter, StatePermanent},
	},
	StateFailed: {
		inResolve: {stepEnter | stepAsk, StateIncomplete},
		inAnswer:  {confirm, StateReachable},
		inHeard:   {learn, StateStale},
		inSpent:   {stepForget, StateNone},
		inFix:     {stepBind | stepEnter, StatePermanent},
	},
	StatePermanent: {
		inResolve: {sendAgain, StatePermanent},
		inFix:     {stepBind | stepEnter, StatePermanent},
	},
}
