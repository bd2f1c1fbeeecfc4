package dhcp

// BadReason says why a datagram is no message.
type BadReason uint8

// The reasons.
const (
	Good              BadReason = iota
	BadShort                    // shorter than the fixed header
	BadCookie                   // no magic cookie
	BadHardwareLength           // a hardware address of more than 16 octets
	BadOptions                  // an option is longer than what is there
	BadOverload                 // option 52 has no known value, or the fields that it names hold no whole options
	BadType                     // option 53 has not one octet, or is 0
	NumBadReasons
)

var badReasons = [NumBadReasons][2]string{
	Good:              {"good", "nothing is wrong"},
	BadShort:          {"short", "shorter than the fixed header of DHCP"},
	BadCookie:         {"no_cookie", "the magic cookie of RFC 2132 is missing"},
	BadHardwareLength: {"hardware_length", "a hardware address of more than 16 octets"},
	BadOptions:        {"options", "an option is longer than what is left of the message"},
	BadOverload:       {"overload", "option 52 has no known value, or the fields that it names hold no whole options"},
	BadType:           {"message_type", "option 53 has another length than one octet, came twice, or is 0"},
}

func (r BadReason) String() string {
	if r >= NumBadReasons {
		return "unknown"
	}
	return badReasons[r][0]
}

// Description is a sentence for tables.
func (r BadReason) Description() string {
	if r >= NumBadReasons {
		return "unknown"
	}
	return badReasons[r][1]
}
