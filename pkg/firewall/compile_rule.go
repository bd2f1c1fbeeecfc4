package firewall

import (
	"fmt"
	"net/netip"
	"strings"
)

// compileRule checks a rule, and divides what it asks between the classifier and the rule itself.
func (p *Policy) compileRule(r *rule, t *terms, of *Rule, index int) error {
	m := &of.Match
	*r = rule{index: int32(index), of: of, action: of.Action, log: of.Log}
	if of.Action >= numActions {
		return fmt.Errorf("there is no %v", of.Action)
	}
	var err error
	if t.source, err = addressTerms("source", m.Source, m.NotSource); err != nil {
		return err
	}
	if t.dest, err = addressTerms("destination", m.Destination, m.NotDestination); err != nil {
		return err
	}
	if t.sport, err = portTerms("source port", m.SourcePorts); err != nil {
		return err
	}
	if t.dport, err = portTerms("port", m.DestPorts); err != nil {
		return err
	}
	if t.protocols, err = m.protocolTerms(); err != nil {
		return err
	}
	if r.source, r.sourceNot, err = p.setTerm(m.SourceSet); err != nil {
		return err
	}
	if r.dest, r.destNot, err = p.setTerm(m.DestinationSet); err != nil {
		return err
	}
	return p.compileChanging(r, of)
}

// compileChanging is what of a rule may differ from packet to packet of a session.
func (p *Policy) compileChanging(r *rule, of *Rule) error {
	m := &of.Match
	switch {
	case m.ICMPType < -1 || m.ICMPType > 255 || m.ICMPCode < -1 || m.ICMPCode > 255:
		return fmt.Errorf("ICMP type %d, code %d: they are 0 to 255, or -1 for any", m.ICMPType, m.ICMPCode)
	case m.DSCP < -1 || m.DSCP > 63:
		return fmt.Errorf("DSCP %d: it is 0 to 63, or -1 for any", m.DSCP)
	case m.TCPFlags&^m.TCPMask != 0:
		return fmt.Errorf("TCP flags %#x are not all in the mask %#x", m.TCPFlags, m.TCPMask)
	case m.States&^allStates != 0:
		return fmt.Errorf("there is no %v", m.States)
	case m.LengthMin < 0 || m.LengthMax < 0 || m.LengthMax > 0 && m.LengthMin > m.LengthMax || m.LengthMin > 65535 || m.LengthMax > 65535:
		return fmt.Errorf("a length from %d to %d: give one from 20 to 65535, the smaller number first", m.LengthMin, m.LengthMax)
	case of.MaxHost < 0:
		return fmt.Errorf("max_sessions is %d: give a number above zero", of.MaxHost)
	case of.AddFor < 0:
		return fmt.Errorf("add_for is %v: give a duration above zero", of.AddFor)
	case of.Over && of.Rate == nil:
		return fmt.Errorf("it matches beyond a rate, and has none")
	}
	if of.AddTo != "" {
		if r.addTo = p.sets[of.AddTo]; r.addTo == nil {
			return fmt.Errorf("there is no set %q to add to", of.AddTo)
		}
	}
	if of.Rate != nil {
		if of.Rate.Packets < 1 || of.Rate.Per <= 0 || of.Rate.Burst < 0 {
			return fmt.Errorf("a rate of %v: packets and time have to be above zero", of.Rate)
		}
		burst := of.Rate.Burst
		if burst == 0 {
			burst = of.Rate.Packets
		}
		r.meter = newMeter(of.Rate.Packets, of.Rate.Per, burst)
	}
	r.flags, r.mask, r.states = m.TCPFlags, m.TCPMask, m.States
	r.icmpType, r.icmpCode, r.dscp = int16(m.ICMPType), int16(m.ICMPCode), int16(m.DSCP)
	r.lengthMin, r.lengthMax = int32(m.LengthMin), int32(m.LengthMax)
	r.over, r.maxHost = of.Over, of.MaxHost
	r.changing = r.mask != 0 || r.states != 0 || r.icmpType >= 0 || r.icmpCode >= 0 || r.dscp >= 0 || r.lengthMin > 0 || r.lengthMax > 0 ||
		of.Rate != nil || of.MaxHost > 0 || r.addTo != nil
	r.simple = !r.changing && r.source == nil && r.dest == nil
	return nil
}

// attach gives a rule what outlives it.
func (r *rule) attach(i *identity) {
	r.count, r.limiter, r.quota = i.count, i.limiter, i.quota
}

func addressTerms(what string, prefixes []netip.Prefix, not bool) ([]span, error) {
	if len(prefixes) == 0 {
		if not {
			return nil, fmt.Errorf("any %s but none: name those that are meant", what)
		}
		return nil, nil
	}
	spans, ok := prefixSpans(prefixes)
	if !ok {
		return nil, fmt.Errorf("its %ss have to be IPv4 prefixes", what)
	}
	if not {
		spans = complement(spans, ^uint32(0))
	}
	return spans, nil
}

func portTerms(what string, ranges []PortRange) ([]span, error) {
	if len(ranges) == 0 {
		return nil, nil
	}
	spans, ok := portSpans(ranges)
	if !ok {
		return nil, fmt.Errorf("its %s %s runs backwards: the smaller number comes first", what, portWords(ranges))
	}
	return spans, nil
}

// protocolTerms are the protocols that have all that the match asks for.
func (m *Match) protocolTerms() ([]span, error) {
	var of [256]bool
	some := false
	for i := range of {
		of[i] = (m.Protocol == 0 || int(m.Protocol) == i) &&
			(len(m.SourcePorts) == 0 && len(m.DestPorts) == 0 || hasPorts(uint8(i))) &&
			(m.ICMPType < 0 && m.ICMPCode < 0 || i == protocolICMP) &&
			(m.TCPMask == 0 || i == protocolTCP)
		some = some || of[i]
	}
	if !some {
		return nil, fmt.Errorf("no packet is %q: ports are of TCP, UDP and their kin, flags of TCP, types and codes of ICMP (-1 stands for any)", m.String())
	}
	var out []span
	for i, is := range of {
		if is {
			out = append(out, span{uint32(i), uint32(i)})
		}
	}
	if len(out) == len(of) {
		return nil, nil
	}
	return merged(out), nil
}

func hasPorts(protocol uint8) bool {
	switch protocol {
	case protocolTCP, protocolUDP, protocolDCCP, protocolSCTP, protocolUDPLite:
		return true
	}
	return false
}

func (p *Policy) setTerm(name string) (s *set, not bool, err error) {
	if name == "" {
		return nil, false, nil
	}
	name, not = strings.CutPrefix(name, "!")
	if s = p.sets[name]; s == nil {
		return nil, false, fmt.Errorf("there is no set %q", name)
	}
	return s, not, nil
}
