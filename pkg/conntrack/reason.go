package conntrack

// Reason says why a packet does not belong to a session, or why none was made. Each becomes a drop reason
// of the dataplane.
type Reason uint8

// The reasons.
const (
	ReasonNone      Reason = iota
	ReasonTruncated        // shorter than its transport header says
	ReasonPorts            // port 0
	ReasonTCPFlags         // a combination of flags that no TCP sends
	ReasonTCPState         // a segment that the connection's state does not allow
	ReasonTCPWindow        // outside of the window
	ReasonICMPType         // an ICMP message that belongs to no session and opens none
	ReasonICMPInner        // an ICMP error whose inner packet is truncated or lies
	ReasonNoSession        // belongs to no session, and cannot open one
	ReasonTableFull        // as many sessions as there may be
	ReasonHostLimit        // as many as one inside address may have
	ReasonHalfOpen         // as many unanswered TCP openings from outside as there may be
	ReasonClash            // its addresses and ports are those of another session

	NumReasons
)

// String is the name in snake_case.
func (r Reason) String() string { panic("not written yet") }

// Description is one sentence for the operator.
func (r Reason) Description() string { panic("not written yet") }

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

// String is the name in snake_case.
func (s State) String() string { panic("not written yet") }
