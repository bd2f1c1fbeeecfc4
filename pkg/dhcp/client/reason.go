package client

// Reason says why a lease ended, or a message was ignored. ReasonNone is neither.
type Reason uint8

// The reasons: first those for which an address is given up or an attempt ends, then those for which a message is ignored, in the order of the
// ladder that it climbs.
const (
	ReasonNone         Reason = iota
	ReasonExpired             // the lease's time is over
	ReasonRefused             // a server said NAK
	ReasonTaken               // ARP found another host with the address before its use
	ReasonConflict            // another host took the address while it was in use
	ReasonReleased            // given back
	ReasonReconfigured        // the client is another to servers now
	ReasonNoAnswer            // the server is silent

	IgnoredPort        // not from the port of a server
	IgnoredMessage     // no message: see Counters.Bad
	IgnoredOp          // not a reply
	IgnoredHardware    // for another hardware address
	IgnoredTransaction // another transaction id
	IgnoredClientID    // another client id (RFC 6842)
	IgnoredType        // a type that no server sends
	IgnoredUnexpected  // nothing was asked for that it could answer
	IgnoredNoServer    // no server identifier, or none that a host could have
	IgnoredOtherServer // not the server that was asked
	IgnoredShunned     // offered before, and was silent then
	IgnoredAddress     // an address that no host can have
	IgnoredOther       // another address than the one asked for
	IgnoredNoMask      // no subnet mask
	IgnoredMask        // no subnet mask that a network can have
	IgnoredLeaseTime   // a lease of no time, or one that is over when it comes
	NumReasons
)

var reasons = [NumReasons][2]string{
	ReasonNone:         {"none", "nothing happened"},
	ReasonExpired:      {"expired", "the lease expired, and no server renewed it"},
	ReasonRefused:      {"refused", "a server refused the address"},
	ReasonTaken:        {"taken", "another host has the address that a server gave, so it was declined"},
	ReasonConflict:     {"conflict", "another host uses the address, so it was declined"},
	ReasonReleased:     {"released", "the address was given back"},
	ReasonReconfigured: {"reconfigured", "the client's hardware address or client id changed, so it asks anew"},
	ReasonNoAnswer:     {"no_answer", "the server does not answer"},

	IgnoredPort:        {"port", "a datagram did not come from UDP port 67"},
	IgnoredMessage:     {"message", "a datagram is no DHCP message"},
	IgnoredOp:          {"op", "a message is not a reply"},
	IgnoredHardware:    {"hardware", "a message is for another hardware address"},
	IgnoredTransaction: {"transaction", "a message has another transaction id than the one that was sent"},
	IgnoredClientID:    {"client_id", "a message is for another client id"},
	IgnoredType:        {"type", "a message is neither OFFER, ACK nor NAK"},
	IgnoredUnexpected:  {"unexpected", "a message answers nothing that was asked"},
	IgnoredNoServer:    {"no_server", "a message has no valid server identifier"},
	IgnoredOtherServer: {"other_server", "a message is from another server than the one that was asked"},
	IgnoredShunned:     {"shunned", "an offer is from a server that offered before and then did not answer"},
	IgnoredAddress:     {"address", "a message gives an address that no host can have"},
	IgnoredOther:       {"other_address", "a message confirms another address than the one that was asked for"},
	IgnoredNoMask:      {"no_mask", "a message has no subnet mask"},
	IgnoredMask:        {"mask", "a message has a subnet mask that no network can have"},
	IgnoredLeaseTime:   {"lease_time", "a message gives a lease of no time, or comes when it is over"},
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
