package nat

// Reason why NAT refuses a new session.
type Reason uint8

// The reasons.
const (
	ReasonNone       Reason = iota
	ReasonNoAddress         // the outside port has no address now
	ReasonNoPorts           // all outside ports of the address are taken
	ReasonNoBlocks          // the subscriber has its blocks, or there are none left
	ReasonMappings          // as many mappings as there may be
	ReasonTaken             // that outside port is somebody else's (Add with exact)
	ReasonNotAllowed        // no rule would translate this inside address (Add)
	ReasonHostLimit         // as many explicit mappings as one host may have

	NumReasons
)

// reasonTexts are the name and the sentence of each reason.
func reasonTexts() [NumReasons][2]string {
	return [NumReasons][2]string{
		ReasonNone:       {"none", "nothing was refused"},
		ReasonNoAddress:  {"nat_no_address", "the port that the packet would leave by has no address to translate to"},
		ReasonNoPorts:    {"nat_no_ports", "all ports of the outside address are taken; sessions that exist go on"},
		ReasonNoBlocks:   {"nat_no_blocks", "the subscriber has all blocks of ports that it may have, or no block is left"},
		ReasonMappings:   {"nat_mappings", "there are as many mappings as there may be; sessions that exist go on"},
		ReasonTaken:      {"nat_port_taken", "the outside port that was asked for is another one's"},
		ReasonNotAllowed: {"nat_not_allowed", "no rule translates this inside address and protocol"},
		ReasonHostLimit:  {"nat_host_limit", "the host has as many explicit mappings as one host may have"},
	}
}

// String is the name in snake_case.
func (r Reason) String() string {
	if r >= NumReasons {
		return "unknown"
	}
	return reasonTexts()[r][0]
}

// Description is one sentence for the operator.
func (r Reason) Description() string {
	if r >= NumReasons {
		return "no such reason"
	}
	return reasonTexts()[r][1]
}
