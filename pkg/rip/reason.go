package rip

// BadReason says why a packet, or a route in one, was refused. BadNone is no refusal.
type BadReason uint8

// The refusals, in the order of the ladder that a packet climbs. From BadRouteFamily on
// they are about one entry; the others about a whole packet.
const (
	BadNone BadReason = iota
	BadPort
	BadSourceSelf
	BadSourceOffLink
	BadDestination
	BadTTL
	BadNeighborLimit
	BadRate
	BadSize
	BadAlignment
	BadVersion
	BadVersionRefused
	BadCommand
	BadSourcePort
	BadMustBeZero
	BadAuthMissing
	BadAuthUnexpected
	BadAuthType
	BadAuthPassword
	BadAuthKey
	BadAuthExpired
	BadAuthLength
	BadAuthTrailer
	BadAuthDigest
	BadAuthSequence
	BadNoEntry
	BadTooManyEntries
	BadRequestPassive
	BadRequestRate
	BadRequestMix
	BadAuthNoKey // about our own packets: no key may be sent now

	BadRouteFamily
	BadRouteAuthPlace
	BadRouteMetricZero
	BadRouteMetricRange
	BadRouteMask
	BadRouteHostBits
	BadRouteZeroNet
	BadRouteLoopback
	BadRouteMulticast
	BadRouteClassE
	BadRouteLimit
	BadRouteNeighborLimit
	BadRouteLearnedLimit
	NumBadReasons // how many there are
)

// Route reports a reason about one entry of a packet whose other entries may be good.
func (r BadReason) Route() bool { return r >= BadRouteFamily && r < NumBadReasons }

type words struct{ name, description string }

var badWords = [NumBadReasons]words{
	BadNone:               {"none", "The packet was accepted."},
	BadPort:               {"rip_port", "A RIP packet arrived on a port that does not speak RIP."},
	BadSourceSelf:         {"rip_source_self", "A RIP packet came from an address of this router: the link loops, or somebody forges it."},
	BadSourceOffLink:      {"rip_source_off_link", "A RIP packet came from an address that is no neighbour's at the port where it arrived."},
	BadDestination:        {"rip_destination", "A RIP packet was sent neither to an address of the port nor to all routers."},
	BadTTL:                {"rip_ttl", "A RIP packet came with a TTL below 255 on a port with TTL security: it may have crossed a router."},
	BadNeighborLimit:      {"rip_neighbor_limit", "A RIP packet came from a new neighbour, and there are too many already."},
	BadRate:               {"rip_rate", "A neighbour sends RIP packets faster than its limit."},
	BadSize:               {"rip_size", "A RIP packet is shorter than its header or longer than any may be."},
	BadAlignment:          {"rip_alignment", "A RIP packet does not consist of whole entries of 20 octets."},
	BadVersion:            {"rip_version", "A RIP packet states version 0."},
	BadVersionRefused:     {"rip_version_refused", "A RIP packet has a version that the port is configured not to accept."},
	BadCommand:            {"rip_command", "A RIP packet is neither a request nor a response."},
	BadSourcePort:         {"rip_source_port", "A RIP response did not come from UDP port 520."},
	BadMustBeZero:         {"rip_must_be_zero", "A RIP version 1 packet has something in fields that must be zero."},
	BadAuthMissing:        {"rip_auth_missing", "A RIP packet without authentication arrived where it is required."},
	BadAuthUnexpected:     {"rip_auth_unexpected", "A RIP packet with authentication arrived where none is configured."},
	BadAuthType:           {"rip_auth_type", "A RIP packet is authenticated in another way than the port requires."},
	BadAuthPassword:       {"rip_auth_password", "A RIP packet has a wrong password."},
	BadAuthKey:            {"rip_auth_key", "A RIP packet names a key id that the port's key chain does not have."},
	BadAuthExpired:        {"rip_auth_expired", "A RIP packet is authenticated with a key that is not to be accepted at this time."},
	BadAuthLength:         {"rip_auth_length", "The lengths stated in a RIP packet's authentication do not fit the packet or its algorithm."},
	BadAuthTrailer:        {"rip_auth_trailer", "A RIP packet's authentication trailer is missing or malformed."},
	BadAuthDigest:         {"rip_auth_digest", "A RIP packet's digest is wrong: the secrets differ, or the packet was changed on the way."},
	BadAuthSequence:       {"rip_auth_sequence", "A RIP packet's sequence number is lower than one already seen: it is old, or replayed."},
	BadNoEntry:            {"rip_no_entry", "A RIP packet has no entry."},
	BadTooManyEntries:     {"rip_too_many_entries", "A RIP packet has more than 25 entries."},
	BadRequestPassive:     {"rip_request_passive", "A router asked for the table on a passive port."},
	BadRequestRate:        {"rip_request_rate", "A neighbour asks for the whole table again before a second has passed, or too many ask at a time."},
	BadRequestMix:         {"rip_request_mix", "A RIP request for the whole table has other entries too."},
	BadAuthNoKey:          {"rip_auth_no_key", "A RIP packet of this router was not sent: no key of the port's chain is to be sent at this time."},
	BadRouteFamily:        {"rip_route_family", "A RIP entry is not about IPv4."},
	BadRouteAuthPlace:     {"rip_route_auth_place", "A RIP authentication entry is not the first of its packet."},
	BadRouteMetricZero:    {"rip_route_metric_zero", "A RIP entry has metric 0."},
	BadRouteMetricRange:   {"rip_route_metric_range", "A RIP entry has a metric above 16."},
	BadRouteMask:          {"rip_route_mask", "A RIP entry's mask is not a row of ones followed by zeros."},
	BadRouteHostBits:      {"rip_route_host_bits", "A RIP entry's address has bits outside of its mask."},
	BadRouteZeroNet:       {"rip_route_zero_net", "A RIP entry is about network 0, and not the default route."},
	BadRouteLoopback:      {"rip_route_loopback", "A RIP entry is about network 127."},
	BadRouteMulticast:     {"rip_route_multicast", "A RIP entry is about multicast addresses."},
	BadRouteClassE:        {"rip_route_class_e", "A RIP entry is about 240.0.0.0/4."},
	BadRouteLimit:         {"rip_route_limit", "A RIP route was not learned: the table is full."},
	BadRouteNeighborLimit: {"rip_route_neighbor_limit", "A RIP route was not learned: its neighbour has told too many."},
	BadRouteLearnedLimit:  {"rip_route_learned_limit", "A RIP route was not learned: too many paths are known already."},
}

func (r BadReason) String() string {
	if r >= NumBadReasons {
		return "unknown"
	}
	return badWords[r].name
}

// Description is one sentence for operators.
func (r BadReason) Description() string {
	if r >= NumBadReasons {
		return "The reason is unknown."
	}
	return badWords[r].description
}
