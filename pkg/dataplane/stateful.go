package dataplane

import (
	"slices"

	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// Stateful is what packets are tracked, filtered and translated by. A snapshot of the tables without one
// sends packets straight from input to lookup.
type Stateful struct {
	Sessions *conntrack.Table // nil: none; access rules are all there is
	Mappings *nat.Mappings    // nil: no NAT
	NAT      *nat.Policy      // nil: no NAT
	Firewall *firewall.Policy // nil: no firewall
	// NATNumbers are what sessions keep of the rules of NAT, and behind them of the forwards ([conntrack.New.NATRule]): numbers that stay with
	// what they stand for while others come and go. nil: the index plus 1.
	NATNumbers []uint16
	HelpFTP    bool // sessions to TCP port 21 are helped: their packets go through the control plane
	Loose      bool // as in the configuration of Sessions: a TCP segment may open a session in its middle
}

// NATRule reads [conntrack.New.NATRule] of a session that is one of this policy: the rules of `nat` come first, and
// the forwards behind them. ok is false for 0: no rule, or an explicit
// mapping; and for what this policy does not have.
func (st *Stateful) NATRule(number uint16) (index int, forward, ok bool) {
	if number == 0 || st.NAT == nil {
		return 0, false, false
	}
	index = int(number) - 1
	if st.NATNumbers != nil {
		if index = slices.Index(st.NATNumbers, number); index < 0 {
			return 0, false, false
		}
	}
	if index < st.NAT.Rules() {
		return index, false, true
	}
	index -= st.NAT.Rules()
	return index, true, index < st.NAT.Forwards()
}

// natNumber is the number of a rule, or of a forward behind them; 0 for index -1.
func (st *Stateful) natNumber(index int) uint16 {
	if index >= 0 && index < len(st.NATNumbers) {
		return st.NATNumbers[index]
	}
	return uint16(index + 1)
}

// rules are those of the firewall between zones; nil where there are none.
func (st *Stateful) rules() *firewall.Policy {
	if st.Firewall != nil && st.Firewall.Stateful() {
		return st.Firewall
	}
	return nil
}

// outside reports a port from which only what NAT lets in comes in.
func (st *Stateful) outside(port uint16) bool {
	return st.NAT != nil && port != 0 && st.NAT.Outside(port)
}

// side is the same for ports between which neither rules nor NAT stand: the fragments of one datagram come from one side. Otherwise a
// first fragment that outside has forged would be let in, or out, by where the last one came from.
func (st *Stateful) side(port uint16) uint32 {
	side := uint32(0)
	if st.outside(port) {
		side = 1
	}
	if rules := st.rules(); rules != nil {
		side |= uint32(rules.Zone(port)) << 1
	}
	return side
}
