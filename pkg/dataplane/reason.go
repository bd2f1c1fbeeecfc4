package dataplane

// DropReason says why a packet went no further.
type DropReason uint8

// The reasons, in the order in which a packet may meet them.
const (
	dropNone DropReason = iota

	DropFrameShort
	DropVnetHeader
	DropEtherType
	DropNotOurMAC
	DropSourceMAC
	DropPortClosed

	DropHeaderShort
	DropHeaderVersion
	DropHeaderLength
	DropHeaderChecksum
	DropTotalLength
	DropSourceMartian
	DropDestinationMartian
	DropLinkBroadcast
	DropReversePath
	DropOptions
	DropSourceRoute

	DropFragmentLost
	DropSessionTruncated // from here on in the order of conntrack.Reason
	DropSessionPorts
	DropSessionTCPFlags
	DropSessionTCPState
	DropSessionTCPWindow
	DropSessionICMPType
	DropSessionICMPInner
	DropSessionNone
	DropSessionTableFull
	DropSessionHostLimit
	DropSessionHalfOpen
	DropSessionClash
	DropSessionICMPChecksum // up to here
	DropSessionPath
	DropNATUnsolicited
	DropNATFiltered
	DropAccess
	DropAccessReject
	DropFirewall
	DropFirewallReject
	DropNATNoAddress // from here on in the order of nat.Reason
	DropNATNoPorts
	DropNATNoBlocks
	DropNATMappings // up to here

	DropNoRoute
	DropBlackhole
	DropUnreachable
	DropProhibit
	DropMulticast
	DropBroadcast
	DropDirectedBroadcast
	DropLeakGuard

	DropTTL
	DropFragmentationNeeded
	DropFragmentOffset
	DropNeighborUnknown
	DropNoReassembly
	DropLocalUDP
	DropARPInspection

	DropPuntQueue
	DropTxPortDown
	DropTxQueue
	DropTxError
	DropTxTooLong

	NumDropReasons
)

var dropText = [NumDropReasons]struct{ name, sentence string }{
	dropNone:                {"none", "not dropped"},
	DropFrameShort:          {"frame_short", "the frame is shorter than its link-layer header"},
	DropVnetHeader:          {"vnet_header", "the offload header contradicts the packet behind it"},
	DropEtherType:           {"ethertype", "neither IPv4 nor ARP (IPv6 is not routed yet)"},
	DropNotOurMAC:           {"not_our_mac", "the frame is addressed to another station"},
	DropSourceMAC:           {"source_mac", "the frame's source is a group or zero MAC address"},
	DropPortClosed:          {"port_closed", "the packet arrived on a port that is disabled or going away"},
	DropHeaderShort:         {"ip_short", "fewer octets than an IPv4 header has"},
	DropHeaderVersion:       {"ip_version", "the IP version is not 4"},
	DropHeaderLength:        {"ip_header_length", "the IPv4 header length is below 20 or beyond the packet"},
	DropHeaderChecksum:      {"ip_checksum", "the IPv4 header checksum is wrong"},
	DropTotalLength:         {"ip_total_length", "the IPv4 total length is below its header or beyond the frame"},
	DropSourceMartian:       {"source_martian", "the source address can never send, or is the router's own (RFC 1812 section 5.3.7)"},
	DropDestinationMartian:  {"destination_martian", "the destination can never be routed (RFC 1812 section 5.3.7)"},
	DropLinkBroadcast:       {"link_broadcast", "a unicast packet came in a link-layer broadcast (RFC 1122 section 3.3.6)"},
	DropReversePath:         {"reverse_path", "the way back to the source leads through another port (RFC 3704)"},
	DropOptions:             {"ip_options", "the IPv4 options are malformed; answered with parameter problem"},
	DropSourceRoute:         {"source_route", "source-routed packets are refused (RFC 7126 section 4.3)"},
	DropFragmentLost:        {"fragment_lost", "a fragment in transit never became the whole packet that NAT and the firewall need"},
	DropSessionTruncated:    {"session_truncated", "shorter than its transport header says, so that no session can be told"},
	DropSessionPorts:        {"session_ports", "port 0, which no session has"},
	DropSessionTCPFlags:     {"session_tcp_flags", "a combination of TCP flags that no host sends"},
	DropSessionTCPState:     {"session_tcp_state", "a TCP segment that the state of its connection does not allow"},
	DropSessionTCPWindow:    {"session_tcp_window", "a TCP segment outside of its connection's window"},
	DropSessionICMPType:     {"session_icmp_type", "an ICMP message that belongs to no session and opens none"},
	DropSessionICMPInner:    {"session_icmp_inner", "an ICMP error that quotes a packet wrongly, or not to who sent it"},
	DropSessionNone:         {"session_none", "belongs to no session, and cannot open one"},
	DropSessionTableFull:    {"session_table_full", "there are as many sessions as there may be; inside is answered with administratively prohibited"},
	DropSessionHostLimit:    {"session_host_limit", "its source has as many sessions as it may have; answered with administratively prohibited"},
	DropSessionHalfOpen:     {"session_half_open", "there are as many TCP openings from outside that are not established as there may be"},
	DropSessionClash:        {"session_clash", "a new session would have the addresses and ports of another; inside is answered with administratively prohibited"},
	DropSessionICMPChecksum: {"session_icmp_checksum", "the checksum of an ICMP error is wrong"},
	DropSessionPath:         {"session_path", "the way or the policy has changed, so that its session ended; it cannot open another"},
	DropNATUnsolicited:      {"nat_unsolicited", "came from outside, and no forward, mapping or session wants it"},
	DropNATFiltered:         {"nat_filtered", "came to a mapping whose filtering does not let its sender in (RFC 4787 section 5)"},
	DropAccess:              {"access_drop", "an access rule drops it"},
	DropAccessReject:        {"access_reject", "an access rule rejects it; answered as the rule says"},
	DropFirewall:            {"firewall_drop", "a rule or policy of the firewall drops it"},
	DropFirewallReject:      {"firewall_reject", "a rule or policy of the firewall rejects it; answered as the rule says"},
	DropNATNoAddress:        {"nat_no_address", "the outside port has no address to translate to; inside is answered with administratively prohibited"},
	DropNATNoPorts:          {"nat_no_ports", "all outside ports are taken; inside is answered with administratively prohibited"},
	DropNATNoBlocks:         {"nat_no_blocks", "the subscriber has its blocks of ports, or there are none left; answered with administratively prohibited"},
	DropNATMappings:         {"nat_mappings", "there are as many mappings as there may be; inside is answered with administratively prohibited"},
	DropNoRoute:             {"no_route", "no route to the destination; answered with net unreachable"},
	DropBlackhole:           {"blackhole", "the route is a blackhole"},
	DropUnreachable:         {"unreachable", "the route is of type unreachable; answered with host unreachable"},
	DropProhibit:            {"prohibit", "the route is of type prohibit; answered with administratively prohibited"},
	DropMulticast:           {"multicast", "multicast is not forwarded, and no part of the router listens to this group"},
	DropBroadcast:           {"broadcast", "a broadcast that no part of the router listens for"},
	DropDirectedBroadcast:   {"directed_broadcast", "broadcasts to another network are not forwarded (RFC 2644)"},
	DropLeakGuard:           {"leak_guard", "a private destination may not leave by this port; answered with net unreachable"},
	DropTTL:                 {"ttl_exceeded", "the time to live ran out; answered with time exceeded"},
	DropFragmentationNeeded: {"fragmentation_needed", "too big for the egress MTU and DF is set; answered with fragmentation needed"},
	DropFragmentOffset:      {"fragment_offset", "a fragment that reaches beyond octet 65535, and had to be fragmented further"},
	DropNeighborUnknown:     {"neighbor_unknown", "the next hop did not answer ARP; answered with host unreachable"},
	DropNoReassembly:        {"reassembly", "a fragment addressed to the router never became a whole packet"},
	DropLocalUDP:            {"local_udp", "a UDP datagram to a protocol of the router has a wrong length or checksum"},
	DropARPInspection:       {"arp_inspection", "an ARP packet whose sender's address is leased to somebody else, or to nobody (inspection: drop)"},
	DropPuntQueue:           {"punt_queue", "the queue to the control plane was full"},
	DropTxPortDown:          {"tx_port_down", "the egress port is down"},
	DropTxQueue:             {"tx_queue", "the egress port's queue was full"},
	DropTxError:             {"tx_error", "the egress device refused the frame"},
	DropTxTooLong:           {"tx_too_long", "the packet and its link-layer header do not fit a frame"},
}

func (r DropReason) String() string { return dropText[r].name }

// Description is one sentence for the operator.
func (r DropReason) Description() string { return dropText[r].sentence }

// PuntReason says what the control plane is asked to do with a packet.
type PuntReason uint8

// The first class is addressed to the router; the second asks for something on
// behalf of a packet, and can be lost without harm to the router.
const (
	PuntARP         PuntReason = iota // an ARP packet
	PuntLocal                         // addressed to one of the router's addresses
	PuntBroadcast                     // addressed to the limited or a subnet's broadcast address
	PuntMulticast                     // addressed to a group
	PuntDHCPClient                    // an answer of DHCP to the client on the port of arrival, whatever its destination
	PuntRouterAlert                   // carries the router alert option (RFC 2113); goes on afterwards
	firstException

	PuntResolve  PuntReason = iota - 1 // the next hop's link-layer address is unknown; waits for it
	PuntError                          // dropped, and its source is owed an ICMP error
	PuntRedirect                       // forwarded, but its source could have chosen better
	PuntUsed                           // a watched adjacency carries traffic; no packet
	PuntReset                          // dropped, and its source is owed a TCP reset
	PuntLogged                         // a rule wants it logged; a copy of its beginning
	PuntHelper                         // of a session whose payload a helper looks at; goes on afterwards
	PuntHeldSYN                        // a TCP SYN that NAT dropped; an ICMP error is owed unless inside opens to there within 6 s

	NumPuntReasons
)

var puntText = [NumPuntReasons]struct{ name, sentence string }{
	PuntARP:         {"arp", "ARP packets for the neighbour table"},
	PuntLocal:       {"local", "packets to the router's own addresses"},
	PuntBroadcast:   {"broadcast", "packets to a broadcast address of the router's networks"},
	PuntMulticast:   {"multicast", "packets to a multicast group"},
	PuntDHCPClient:  {"dhcp_client", "answers of DHCP to the router's own client, whatever their destination"},
	PuntRouterAlert: {"router_alert", "packets with the router alert option (RFC 2113)"},
	PuntResolve:     {"resolve", "packets that wait for their next hop's link-layer address"},
	PuntError:       {"icmp_error", "dropped packets whose source is owed an ICMP error"},
	PuntRedirect:    {"redirect", "packets whose source should use another first hop"},
	PuntUsed:        {"used", "notices that a stale neighbour is in use"},
	PuntReset:       {"tcp_reset", "dropped TCP segments whose source is owed a reset"},
	PuntLogged:      {"logged", "copies of packets that a rule of the firewall logs"},
	PuntHelper:      {"helper", "packets of sessions that a helper looks into"},
	PuntHeldSYN:     {"held_syn", "unsolicited TCP openings that are answered after 6 seconds, if at all (RFC 5382 REQ-4)"},
}

func (r PuntReason) String() string { return puntText[r].name }

// Description is one sentence for the operator.
func (r PuntReason) Description() string { return puntText[r].sentence }

// exception reports the second class.
func (r PuntReason) exception() bool { return r >= firstException }
