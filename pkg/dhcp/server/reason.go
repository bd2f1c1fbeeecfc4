package server

import "vrouterd/pkg/dhcp"

// Reason says why a message was not served.
type Reason uint8

// The reasons, in the order of the ladder that a message climbs.
const (
	ReasonNone Reason = iota
	ReasonMalformed
	ReasonTooLong
	ReasonNotRequest
	ReasonNoIdentity
	ReasonForgedRelay
	ReasonType
	ReasonNoSubnet
	ReasonWrongNetwork
	ReasonOtherServer
	ReasonNoRequestedAddress
	ReasonAddressTaken
	ReasonDoesNotFit
	ReasonReservedElsewhere
	ReasonUnknownClient
	ReasonNotHolder
	ReasonTooManyDeclines
	ReasonExhausted
	ReasonTooManyOffers
	ReasonTooManyLeases
	ReasonProbing
	ReasonBootp
	ReasonReconfigured
	NumReasons
)

type words struct{ name, description string }

var reasons = [NumReasons]words{
	ReasonNone:               {"none", "the message was served"},
	ReasonMalformed:          {"malformed", "the datagram is no DHCP message"},
	ReasonTooLong:            {"too_long", "a message, a client identifier or the relay agent's information is longer than any honest one"},
	ReasonNotRequest:         {"not_a_request", "a message to the server is a reply"},
	ReasonNoIdentity:         {"no_identity", "a client states neither a hardware address nor a client identifier"},
	ReasonForgedRelay:        {"forged_relay", "a message names a relay agent that cannot be where it comes from: this router itself, or one in the network of another port"},
	ReasonType:               {"type", "a message is of a type that clients do not send"},
	ReasonNoSubnet:           {"no_subnet", "a message comes from a port or a relay whose network is not served"},
	ReasonWrongNetwork:       {"wrong_network", "a client asks for an address of another network than the one that it is in"},
	ReasonOtherServer:        {"other_server", "a client has chosen another server"},
	ReasonNoRequestedAddress: {"no_requested_address", "a client does not say which address it asks for"},
	ReasonAddressTaken:       {"address_taken", "a client asks for an address that is another's, or that rests"},
	ReasonDoesNotFit:         {"does_not_fit", "a client asks for an address that is in no range for it, or is reserved for another"},
	ReasonReservedElsewhere:  {"reserved_elsewhere", "a client asks for another address than the one that is reserved for it"},
	ReasonUnknownClient:      {"unknown_client", "a client asks for an address of which the server knows nothing, and the server is not authoritative"},
	ReasonNotHolder:          {"not_the_holder", "a client releases or declines an address that is not its own"},
	ReasonTooManyDeclines:    {"too_many_declines", "a client declined more addresses than one may put to rest"},
	ReasonExhausted:          {"exhausted", "there is no free address for a client"},
	ReasonTooManyOffers:      {"too_many_offers", "too many offers wait for an answer"},
	ReasonTooManyLeases:      {"too_many_leases", "the server has as many leases as it may have"},
	ReasonProbing:            {"probing", "a client asked again while the address that it will be offered is asked for"},
	ReasonBootp:              {"bootp", "a BOOTP client has no reservation: only those are answered"},
	ReasonReconfigured:       {"reconfigured", "an offer that waited for a probe was given up: the configuration or the lease was changed"},
}

func (r Reason) words() words {
	if r >= NumReasons {
		return words{"unknown", "the reason is unknown"}
	}
	return reasons[r]
}

func (r Reason) String() string { return r.words().name }

// Description is a sentence for operators.
func (r Reason) Description() string { return r.words().description }

// NumTypes is how many kinds of message are told apart: BOOTP, the eight of DHCP, and unknown ones.
const NumTypes = 10

// Counters count since New; they never decrease. Every datagram is in Bad or in Received; every one in Received is, once no probe is
// outstanding, in exactly one of Sent, Refused and Accepted. A NAK is in Sent and not in Refused.
type Counters struct {
	Bad      [dhcp.NumBadReasons]uint64 // datagrams that are no messages
	Received [NumTypes]uint64           // by dhcp.Type; the last: unknown types
	Sent     [NumTypes]uint64           // by dhcp.Type
	Refused  [NumReasons]uint64
	Accepted uint64 // messages that want no answer: releases and declines

	NAKs             [NumReasons]uint64 // why NAKs were sent
	Probes           uint64             // addresses asked for before an offer
	ProbesTaken      uint64             // of them, that were somebody's
	ProbesUnanswered uint64             // of them, for which no answer came from the router in time
	ProbesSkipped    uint64             // offers that went unprobed, as too many probes were outstanding
	OffersExpired    uint64             // offers that nobody took
	OffersRevoked    uint64             // offers that made room for other clients
	Evicted          uint64             // ended leases that were forgotten to make room
	Conflicts        uint64             // addresses seen in use by somebody without a lease of it
	OptionsLeftOut   uint64             // options that did not fit into a client's message size
	NamesRefused     uint64             // names that belong to a reservation of another client, or that only reservations may bear
	StoreFailures    uint64             // leases that could not be made durable
}
