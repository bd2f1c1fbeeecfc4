package client

import "strings"

// input is what may happen to the client in a state.
type input uint8

const (
	inBegin   input = iota // there is a link, and no lease
	inResume               // there is a link, and a lease to confirm
	inAwait                // something is to be done, and there is no link
	inDown                 // the link is gone, or the router stops
	inOffer                // a server offers what is acceptable
	inACK                  // the server gives a lease that is used as it is
	inFresh                // the server gives a lease whose address is to be checked first
	inNAK                  // a server refuses
	inFree                 // nobody has the address
	inTaken                // somebody has the address
	inLost                 // somebody took the address in use
	inTimeout              // the state's time is over, and there are tries left
	inSpent                // the state's time is over, and there are none
	inT2                   // the time to ask any server has come
	inExpired              // the lease is over
	inRenew                // the operator wants an answer
	inRelease              // the operator gives the address back
	inReset                // servers will know the client as another
	numInputs
)

var inputNames = [numInputs]string{"begin", "resume", "await", "down", "offer", "ack", "fresh", "nak", "free", "taken", "lost", "timeout", "spent", "t2",
	"expired", "renew", "release", "reset"}

func (i input) String() string { return inputNames[i] }

// inputReasons are the reasons that an input gives for the end of a lease or of an attempt.
var inputReasons = [numInputs]Reason{
	inNAK: ReasonRefused, inTaken: ReasonTaken, inLost: ReasonConflict, inSpent: ReasonNoAnswer, inT2: ReasonNoAnswer,
	inExpired: ReasonExpired, inRelease: ReasonReleased, inReset: ReasonReconfigured,
}

// step is what a transition does, a set of bits; steps.go carries them out in this order.
type step uint16

const (
	stepDecline  step = 1 << iota // tell the server that the lease just got is of no use
	stepRenounce                  // tell the server that the lease in use is of no use
	stepRelease                   // give the lease in use back
	stepNote                      // tell the operator
	stepDrop                      // take the lease away from the router, if there is one
	stepHold                      // be slow to begin anew
	stepShun                      // prefer other servers next time
	stepClose                     // forget what was offered; stay or go where nothing is asked
	stepOpen                      // begin a transaction: new id, no tries yet
	stepTake                      // the lease just got is the lease in use
	stepUse                       // use the lease of before the restart
	stepCheck                     // ask by ARP
	stepSend                      // send the message of the next state
	numSteps     = iota
)

var stepNames = [numSteps]string{"decline", "renounce", "release", "note", "drop", "hold", "shun", "close", "open", "take", "use", "check", "send"}

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
var (
	toDown     = transition{stepClose, Down}
	toReleased = transition{stepRelease | stepDrop | stepClose, Released}
	toLost     = transition{stepRenounce | stepDrop | stepHold | stepClose, Init}
	toRefused  = transition{stepNote | stepDrop | stepHold | stepClose, Init}
	toReset    = transition{stepRelease | stepDrop | stepClose, Init}
	toExpired  = transition{stepDrop | stepClose, Init}
)

// transitions is RFC 2131 figure 5, with a link that may be absent, a check before use, and an operator.
var transitions = [NumStates][numInputs]transition{
	Down: {
		inBegin:   {stepClose, Init},
		inResume:  {stepUse, InitReboot},
		inLost:    {stepDrop, Down},
		inExpired: {stepDrop, Down},
		inRelease: {stepDrop, Released},
		inReset:   {stepDrop, Down},
	},
	Init: {
		inDown:    toDown,
		inLost:    toLost,
		inTimeout: {stepOpen | stepSend, Selecting},
		inExpired: {stepDrop, Init},
		inRelease: toReleased,
		inReset:   toReset,
	},
	Selecting: {
		inDown:    toDown,
		inOffer:   {stepSend, Requesting},
		inLost:    toLost,
		inTimeout: {stepSend, Selecting},
		inExpired: {stepDrop, Selecting},
		inRenew:   {stepOpen | stepSend, Selecting},
		inRelease: toReleased,
		inReset:   toReset,
	},
	Requesting: {
		inDown:    toDown,
		inACK:     {stepTake, Bound},
		inFresh:   {stepCheck, Checking},
		inNAK:     toRefused,
		inLost:    toLost,
		inTimeout: {stepSend, Requesting},
		inSpent:   {stepNote | stepShun | stepClose, Init},
		inExpired: {stepDrop, Requesting},
		inRelease: toReleased,
		inReset:   toReset,
	},
	Checking: {
		inDown:    toDown,
		inFree:    {stepTake, Bound},
		inTaken:   {stepDecline | stepNote | stepHold | stepClose, Init},
		inLost:    toLost,
		inTimeout: {stepTake, Bound},
		inSpent:   {stepClose, Init},
		inExpired: {stepDrop, Checking},
		inRelease: toReleased,
		inReset:   toReset,
	},
	Bound: {
		inDown:    toDown,
		inLost:    toLost,
		inTimeout: {stepOpen | stepSend, Renewing},
		inExpired: toExpired,
		inRenew:   {stepOpen | stepSend, Renewing},
		inRelease: toReleased,
		inReset:   toReset,
	},
	Renewing: {
		inDown:    toDown,
		inACK:     {stepTake, Bound},
		inNAK:     toRefused,
		inLost:    toLost,
		inTimeout: {stepSend, Renewing},
		inSpent:   {stepNote | stepClose, Bound},
		inT2:      {stepNote | stepOpen | stepSend, Rebinding},
		inExpired: toExpired,
		inRenew:   {stepOpen | stepSend, Renewing},
		inRelease: toReleased,
		inReset:   toReset,
	},
	Rebinding: {
		inDown:    toDown,
		inACK:     {stepTake, Bound},
		inNAK:     toRefused,
		inLost:    toLost,
		inTimeout: {stepSend, Rebinding},
		inExpired: toExpired,
		inRenew:   {stepOpen | stepSend, Rebinding},
		inRelease: toReleased,
		inReset:   toReset,
	},
	InitReboot: {
		inDown:    toDown,
		inLost:    toLost,
		inTimeout: {stepOpen | stepSend, Rebooting},
		inExpired: toExpired,
		inRelease: toReleased,
		inReset:   toReset,
	},
	Rebooting: {
		inDown:    toDown,
		inACK:     {stepTake, Bound},
		inNAK:     toRefused,
		inLost:    toLost,
		inTimeout: {stepSend, Rebooting},
		inSpent:   {stepNote | stepOpen | stepSend, Selecting},
		inExpired: toExpired,
		inRenew:   {stepOpen | stepSend, Rebooting},
		inRelease: toReleased,
		inReset:   toReset,
	},
	Released: {
		inBegin: {stepClose, Init},
		inAwait: {stepClose, Down},
	},
}
