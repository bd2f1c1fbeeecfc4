package capture

import (
	"fmt"
	"slices"

	"vrouterd/internal/packet"
)

// transport protocols, and what their names mean alone.
var transports = map[string]protoNode{
	"tcp":   {number: packet.ProtoTCP, ip: true, ipv6: true},
	"udp":   {number: packet.ProtoUDP, ip: true, ipv6: true},
	"sctp":  {number: protoSCTP, ip: true, ipv6: true},
	"icmp":  {number: packet.ProtoICMP, ip: true},
	"igmp":  {number: packet.ProtoIGMP, ip: true},
	"icmp6": {number: protoICMPv6, ipv6: true},
}

var networks = map[string]uint32{"ip": etherIPv4, "ip6": etherIPv6, "arp": etherARP, "rarp": etherRARP}

var reserved = []string{"and", "or", "not", "src", "dst", "host", "net", "port", "portrange", "proto", "mask",
	"ether", "broadcast", "multicast", "less", "greater", "len", "gateway", "vlan", "mpls", "inbound", "outbound"}

// keyword reports a word that begins something else than a value.
func keyword(t token) bool {
	if t.kind != tokenWord || t.escaped {
		return false
	}
	_, transport := transports[t.text]
	_, network := networks[t.text]
	return transport || network || slices.Contains(reserved, t.text)
}

// qualifiers stand before a value and hold for a list of them.
type qualifiers struct {
	proto string // "" for any
	dir   direction
	what  string // host, net, port, portrange, proto; "": a value makes no sense here
}

type parser struct {
	tokens []token
	pos    int
	depth  int
	last   qualifiers // those of the value just read, for `port 80 or 443`
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokenEnd {
		p.pos++
	}
	return t
}

// accept takes the next token if it is this unescaped word or symbol.
func (p *parser) accept(text string) bool {
	if t := p.peek(); t.kind != tokenEnd && t.kind != tokenMAC && t.text == text && !t.escaped {
		p.pos++
		return true
	}
	return false
}

func (p *parser) unexpected(want string) error { return unexpected(p.peek(), want) }

func unexpected(t token, want string) error {
	if t.kind == tokenEnd {
		return fmt.Errorf("it ends where %s is expected", want)
	}
	return fmt.Errorf("column %d: %q stands where %s is expected", t.at, t.text, want)
}

// enter guards the recursion; leave follows it.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return fmt.Errorf("column %d: it is nested deeper than %d levels", p.peek().at, maxDepth)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// expression reads conditions joined by and and or, which bind equally tight.
func (p *parser) expression() (node, error) { return p.joined(p.condition, p.conditionOrValue) }

func (p *parser) joined(first, further func() (node, error)) (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	left, err := first()
	for err == nil {
		var right node
		switch {
		case p.accept("and"):
			if right, err = further(); err == nil {
				left = andNode{left, right}
			}
		case p.accept("or"):
			if right, err = further(); err == nil {
				left = orNode{left, right}
			}
		default:
			return left, nil
		}
	}
	return nil, err
}

// conditionOrValue reads what follows and or or: a bare value takes the qualifiers before it.
func (p *parser) conditionOrValue() (node, error) {
	saved := p.pos
	for p.accept("not") {
	}
	t := p.peek()
	p.pos = saved
	if t.kind == tokenMAC || t.kind == tokenWord && !keyword(t) && !p.computes() {
		return p.valueOrNot(p.last)
	}
	return p.condition()
}

// computes reports a comparison ahead that begins with a word.
func (p *parser) computes() bool {
	saved, depth := p.pos, p.depth
	for p.accept("not") {
	}
	_, err := p.comparison()
	p.pos, p.depth = saved, depth
	return err == nil
}

// condition reads one condition with the nots before it.
func (p *parser) condition() (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	if p.accept("not") {
		inner, err := p.condition()
		return notNode{inner}, err
	}
	saved, depth := p.pos, p.depth
	if n, err := p.comparison(); err == nil {
		p.last = qualifiers{}
		return n, nil
	}
	far := p.peek()
	p.pos, p.depth = saved, depth
	if p.accept("(") {
		inner, err := p.expression()
		if err != nil {
			return nil, err
		}
		if !p.accept(")") {
			return nil, p.unexpected("and, or, or a closing parenthesis")
		}
		p.last = qualifiers{}
		return inner, nil
	}
	// A bracket after a protocol can only be the start of a comparison: say what is wrong in it.
	if p.pos+1 < len(p.tokens) && p.tokens[p.pos+1].text == "[" {
		return nil, unexpected(far, "the rest of a comparison such as tcp[13] & 2 != 0")
	}
	return p.primitive()
}

// primitive reads qualifiers and the value or values behind them.
func (p *parser) primitive() (node, error) {
	start := p.peek()
	if start.kind == tokenMAC || start.kind == tokenWord && !keyword(start) {
		if start.kind == tokenWord && start.text[0] >= '0' && start.text[0] <= '9' {
			p.last = qualifiers{what: "host"}
			return p.value(p.last)
		}
		return nil, unexpected(start, "a condition such as host ADDRESS, net PREFIX, port NUMBER or tcp")
	}
	switch {
	case p.accept("less"), p.accept("greater"):
		p.last = qualifiers{}
		n, err := p.numberUpTo(1<<32 - 1)
		op := ">="
		if start.text == "less" {
			op = "<="
		}
		return compareNode{lengthTerm{}, number(n), op}, err
	case p.accept("broadcast"):
		p.last = qualifiers{}
		return etherNode{packet.BroadcastMAC, targetEnd}, nil
	case p.accept("multicast"):
		p.last = qualifiers{}
		return groupNode{}, nil
	}

	var q qualifiers
	_, isTransport := transports[start.text]
	_, isNetwork := networks[start.text]
	if start.kind == tokenWord && (isTransport || isNetwork || start.text == "ether") {
		q.proto = p.next().text
	}
	directed := p.directions(&q)
	for _, what := range []string{"host", "net", "portrange", "port", "proto"} {
		if p.accept(what) {
			q.what = what
			break
		}
	}
	if q.what == "" && !directed {
		return p.alone(q, start)
	}
	if q.what == "" {
		q.what = "host"
	}
	if directed && q.what == "proto" {
		return nil, fmt.Errorf("column %d: a protocol has no source or destination", start.at)
	}
	p.last = q
	return p.valueOrList(q)
}

// directions reads src, dst, or both joined.
func (p *parser) directions(q *qualifiers) bool {
	for _, d := range []struct {
		first, second string
		alone         direction
	}{{"src", "dst", sourceEnd}, {"dst", "src", targetEnd}} {
		if !p.accept(d.first) {
			continue
		}
		q.dir = d.alone
		saved := p.pos
		both := bothEnds
		joined := p.accept("and")
		if !joined && p.accept("or") {
			joined, both = true, eitherEnd
		}
		if joined && p.accept(d.second) {
			// `src or dst port 80` is one qualifier; `src or ...` with anything else is not.
			q.dir = both
		} else {
			p.pos = saved
		}
		return true
	}
	return false
}

// alone makes a condition of a protocol without a value.
func (p *parser) alone(q qualifiers, start token) (node, error) {
	p.last = qualifiers{}
	if n, ok := transports[q.proto]; ok {
		return n, nil
	}
	switch {
	case q.proto == "ip" && p.accept("multicast"):
		return ipGroupNode{}, nil
	case q.proto == "ether" && p.accept("broadcast"):
		return etherNode{packet.BroadcastMAC, targetEnd}, nil
	case q.proto == "ether" && p.accept("multicast"):
		return groupNode{}, nil
	case q.proto == "ether":
		return nil, p.unexpected("host, src, dst, proto, broadcast or multicast")
	case q.proto != "":
		return protoNode{number: networks[q.proto], etherProto: true}, nil
	}
	return nil, unexpected(start, "a condition such as host ADDRESS, net PREFIX, port NUMBER or tcp")
}
