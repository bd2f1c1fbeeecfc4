package arp

// BadReason says why a packet was refused. BadNone is no refusal.
type BadReason uint8

// The refusals, in the order of the ladder that a packet climbs.
const (
	BadNone BadReason = iota
	BadPort
	BadShort
	BadHardwareType
	BadProtocolType
	BadLengths
	BadOperation
	BadFrameDestination
	BadFrameSource
	BadSourceMismatch
	BadSenderMAC
	BadLoop
	BadSenderAddress
	BadOwnAddress
	BadConflict
	BadOffLink
	BadTargetAddress
	BadUnsolicited
	BadPermanent
	BadTooSoon
	BadCacheFull
	BadStaticAddress
	BadStaticMAC
	NumBadReasons // how many there are
)

type words struct{ name, description string }

func word(table []words, i int) words {
	if i >= len(table) {
		return words{"unknown", "the reason is unknown"}
	}
	return table[i]
}

var badWords = [NumBadReasons]words{
	BadNone:             {"none", "the packet was accepted"},
	BadPort:             {"arp_port", "an ARP packet arrived on a port that is not up"},
	BadShort:            {"arp_short", "an ARP packet is shorter than the 28 octets of IPv4 over Ethernet"},
	BadHardwareType:     {"arp_hardware_type", "an ARP packet is not about Ethernet"},
	BadProtocolType:     {"arp_protocol_type", "an ARP packet is not about IPv4"},
	BadLengths:          {"arp_lengths", "an ARP packet states address lengths other than 6 and 4"},
	BadOperation:        {"arp_operation", "an ARP packet is neither a request nor a reply"},
	BadFrameDestination: {"arp_frame_destination", "an ARP packet came in a frame addressed to another station"},
	BadFrameSource:      {"arp_frame_source", "an ARP packet came in a frame whose source is a group or zero address"},
	BadSourceMismatch:   {"arp_source_mismatch", "an ARP packet names another sender than the frame it came in"},
	BadSenderMAC:        {"arp_sender_mac", "an ARP packet claims a group or zero hardware address for its sender"},
	BadLoop:             {"arp_loop", "an ARP packet of this port came back: the link loops"},
	BadSenderAddress:    {"arp_sender_address", "an ARP packet's sender address is no address of a host"},
	BadOwnAddress:       {"arp_own_address", "an ARP packet claims an address that the router has on another port"},
	BadConflict:         {"arp_conflict", "another station uses an address of this port"},
	BadOffLink:          {"arp_off_link", "an ARP packet's sender is not on-link at the port where it arrived"},
	BadTargetAddress:    {"arp_target_address", "an ARP packet asks for an address that no host can have"},
	BadUnsolicited:      {"arp_unsolicited", "an ARP reply that nobody asked for is about no known neighbour"},
	BadPermanent:        {"arp_permanent", "a station claims the address of a permanent neighbour with another hardware address"},
	BadTooSoon:          {"arp_too_soon", "a second station claims a neighbour's address within a second of the first"},
	BadCacheFull:        {"arp_cache_full", "a neighbour could not be learned: the cache is full of neighbours in use"},
	BadStaticAddress:    {"arp_static_address", "a permanent neighbour was refused: its address is no address of another host"},
	BadStaticMAC:        {"arp_static_mac", "a permanent neighbour was refused: its hardware address is zero or broadcast"},
}

func (r BadReason) String() string { return word(badWords[:], int(r)).name }

// Description is one sentence for operators.
func (r BadReason) Description() string { return word(badWords[:], int(r)).description }

// DropReason says why a waiting packet was given up.
type DropReason uint8

// Why packets do not wait, or wait no longer.
const (
	DropNone          DropReason = iota
	DropPortDown                 // the port is not up
	DropNotNeighbor              // no host can have the address
	DropOwnAddress               // the address is the router's own
	DropNoAddress                // the port has no address to ask from
	DropBudget                   // too many unresolved neighbours
	DropRate                     // too many requests queued
	DropWaitingPacket            // pushed out by a newer packet for the same neighbour
	DropWaitingBytes             // too many octets wait in all
	DropFailed                   // the neighbour does not answer
	DropPortLost                 // the port went down while the packet waited
	DropMoved                    // the address stopped being on-link while the packet waited
	DropFlushed                  // the neighbour was flushed or deleted while the packet waited
	DropEvicted                  // the unanswered neighbour made room for another
	NumDropReasons               // how many there are
)

var dropWords = [NumDropReasons]words{
	DropNone:          {"none", "the packet was not dropped"},
	DropPortDown:      {"neighbor_port_down", "a packet to a neighbour met a port that is not up"},
	DropNotNeighbor:   {"neighbor_not_a_host", "a packet's next hop is an address that no neighbour can have"},
	DropOwnAddress:    {"neighbor_own_address", "a packet's next hop is an address of the router itself"},
	DropNoAddress:     {"neighbor_no_source", "a neighbour could not be asked for: the port has no address in use"},
	DropBudget:        {"neighbor_budget", "a packet to an unknown neighbour found too many others being resolved"},
	DropRate:          {"neighbor_request_rate", "a packet to an unknown neighbour found too many ARP requests queued"},
	DropWaitingPacket: {"neighbor_queue_packets", "a packet that waited for a neighbour was pushed out by newer ones"},
	DropWaitingBytes:  {"neighbor_queue_bytes", "a packet could not wait for a neighbour: too many octets wait in all"},
	DropFailed:        {"neighbor_unreachable", "a packet waited for a neighbour that does not answer ARP"},
	DropPortLost:      {"neighbor_port_lost", "a packet waited for a neighbour when its port went down"},
	DropMoved:         {"neighbor_not_on_link", "a packet waited for a neighbour that is no longer on-link"},
	DropFlushed:       {"neighbor_flushed", "a packet waited for a neighbour that was flushed"},
	DropEvicted:       {"neighbor_evicted", "a packet waited for an unanswered neighbour that made room for another"},
}

func (r DropReason) String() string { return word(dropWords[:], int(r)).name }

// Description is one sentence for operators.
func (r DropReason) Description() string { return word(dropWords[:], int(r)).description }

// Counters count since [New]; they never decrease.
type Counters struct {
	Bad     [NumBadReasons]uint64  // packets, by reason
	Dropped [NumDropReasons]uint64 // waiting packets, by reason; a refused Resolve without a packet counts too

	RequestsReceived, RepliesReceived, ProbesReceived uint64 // well-formed ones; probes are RFC 5227's
	RequestsSent                                      uint64 // broadcast
	ProbesSent                                        uint64 // unicast, to confirm a neighbour
	RepliesSent, ProxyRepliesSent                     uint64 // the first counts the second too
	AnnouncementsSent, AddressProbesSent              uint64 // RFC 5227, defences among the announcements
	Failures                                          uint64 // neighbours that did not answer
	Evictions                                         uint64 // neighbours forgotten to make room
	Moves                                             uint64 // neighbours whose hardware address changed
}
