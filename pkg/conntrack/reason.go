package conntrack

// Reason says why a packet does not belong to a session, or why none was made. Each becomes a drop reason
// of the dataplane.
type Reason uint8

// The reasons.
const (
	ReasonNone         Reason = iota
	ReasonTruncated           // shorter than its transport header says
	ReasonPorts               // port 0
	ReasonTCPFlags            // a combination of flags that no TCP sends
	ReasonTCPState            // a segment that the connection's state does not allow
	ReasonTCPWindow           // outside of the window
	ReasonICMPType            // an ICMP message that belongs to no session and opens none
	ReasonICMPInner           // an ICMP error whose inner packet is truncated or lies
	ReasonNoSession           // belongs to no session, and cannot open one
	ReasonTableFull           // as many sessions as there may be
	ReasonHostLimit           // as many as one inside address may have
	ReasonHalfOpen            // as many TCP openings from outside that are not established as there may be
	ReasonClash               // its addresses and ports are those of another session
	ReasonICMPChecksum        // an ICMP error whose own checksum is wrong

	NumReasons
)

var reasonText = [NumReasons]struct{ name, sentence string }{
	ReasonNone:         {"none", "It was not refused."},
	ReasonTruncated:    {"session_truncated", "The packet is shorter than its transport header says, or a fragment."},
	ReasonPorts:        {"session_ports", "A TCP or UDP packet came from port 0 or went to it."},
	ReasonTCPFlags:     {"session_tcp_flags", "A TCP segment had a combination of flags that no TCP sends: none, SYN with FIN, FIN without ACK."},
	ReasonTCPState:     {"session_tcp_state", "A TCP segment came that the state of its connection does not allow."},
	ReasonTCPWindow:    {"session_tcp_window", "A TCP segment, or a reset, was outside of the window of its connection."},
	ReasonICMPType:     {"session_icmp_type", "An ICMP message belongs to no session and opens none, or answers what was not asked."},
	ReasonICMPInner:    {"session_icmp_inner", "The packet that an ICMP error quotes is cut short, or is none that its receiver can have sent."},
	ReasonNoSession:    {"session_none", "The packet belongs to no session, and cannot open one."},
	ReasonTableFull:    {"session_table_full", "There are as many sessions as there may be."},
	ReasonHostLimit:    {"session_host_limit", "The inside address has as many sessions as one may have."},
	ReasonHalfOpen:     {"session_half_open", "There are as many TCP openings from outside that are not established as there may be."},
	ReasonClash:        {"session_clash", "The addresses and ports of the new session are those of another one."},
	ReasonICMPChecksum: {"session_icmp_checksum", "The checksum of an ICMP error is wrong."},
}

// String is the name in snake_case.
func (r Reason) String() string { return reasonText[r].name }

// Description is one sentence for the operator.
func (r Reason) Description() string { return reasonText[r].sentence }

// State of a session.
type State uint8

// States of all protocols; names for users are in String.
const (
	Unreplied   State = iota // datagrams, ICMP and others: no answer yet
	Replied                  // answered
	SynSent                  // TCP: SYN seen
	SynSent2                 // TCP: SYNs of both sides seen (simultaneous open)
	SynReceived              // TCP: SYN and SYN-ACK seen
	Established
	FinWait   // one side has ended
	CloseWait // that was acknowledged
	LastAck   // both sides have ended
	TimeWait  // and everything was acknowledged
	Reset     // ended by RST; kept for a while

	NumStates
)

var stateNames = [NumStates]string{
	"unreplied", "replied", "syn_sent", "syn_sent2", "syn_received", "established",
	"fin_wait", "close_wait", "last_ack", "time_wait", "reset",
}

// String is the name in snake_case.
func (s State) String() string { return stateNames[s] }
