package relay

// Reason says why a message was not relayed. ReasonNone: it was.
type Reason uint8

// The reasons, in the order of the ladder that a message climbs.
const (
	ReasonNone      Reason = iota
	ReasonShort            // shorter than the fixed header
	ReasonOp               // neither request nor reply
	ReasonOptions          // the options are no whole options
	ReasonPort             // no relay on the port
	ReasonAddress          // the port has no address
	ReasonNoServer         // the port has no server
	ReasonHops             // too many relay agents
	ReasonSpoofed          // a request with our own address as giaddr
	ReasonAgent            // an option 82 that nobody trusted has added
	ReasonGIAddr           // an answer with a giaddr that is not ours
	ReasonNotServer        // an answer from somebody who is no server of the port
	ReasonCircuit          // an answer with a circuit id that no port with its giaddr has
	NumReasons
)

var reasons = [NumReasons][2]string{
	ReasonNone:      {"none", "the message was relayed"},
	ReasonShort:     {"short", "a datagram is shorter than the fixed header of BOOTP"},
	ReasonOp:        {"op", "a message is neither request nor reply"},
	ReasonOptions:   {"options", "an option is longer than what is left of the message"},
	ReasonPort:      {"port", "a request arrived on a port without a relay agent"},
	ReasonAddress:   {"address", "a request arrived on a port that has no address yet"},
	ReasonNoServer:  {"no_server", "a request arrived on a port without servers"},
	ReasonHops:      {"hops", "a request has come through too many relay agents: there may be a loop"},
	ReasonSpoofed:   {"spoofed_giaddr", "a request bears this router's own address as its relay agent's: it is forged, or loops"},
	ReasonAgent:     {"untrusted_agent", "a request bears relay agent information without a relay agent, and the port does not trust that"},
	ReasonGIAddr:    {"giaddr", "an answer is for a relay agent that this router is not"},
	ReasonNotServer: {"not_a_server", "an answer is from somebody who is no server of the port"},
	ReasonCircuit:   {"circuit_id", "an answer has a circuit id that no port with its giaddr has"},
}

func (r Reason) String() string {
	if r >= NumReasons {
		return "unknown"
	}
	return reasons[r][0]
}

// Description is a sentence for tables, without its full stop.
func (r Reason) Description() string {
	if r >= NumReasons {
		return "the reason is unknown"
	}
	return reasons[r][1]
}
