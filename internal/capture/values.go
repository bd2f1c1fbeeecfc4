package capture

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"vrouterd/internal/packet"
)

// valueOrList reads `80` or `(80 or 443)`.
func (p *parser) valueOrList(q qualifiers) (node, error) {
	if !p.accept("(") {
		return p.value(q)
	}
	each := func() (node, error) { return p.valueOrNot(q) }
	n, err := p.joined(each, each)
	if err == nil && !p.accept(")") {
		err = p.unexpected("and, or, or a closing parenthesis")
	}
	p.last = q
	return n, err
}

func (p *parser) valueOrNot(q qualifiers) (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	if p.accept("not") {
		n, err := p.valueOrNot(q)
		return notNode{n}, err
	}
	return p.value(q)
}

// value reads one value and makes the condition that its qualifiers ask for.
func (p *parser) value(q qualifiers) (node, error) {
	t := p.peek()
	if t.kind != tokenWord && t.kind != tokenMAC {
		return nil, p.unexpected("a value")
	}
	if q.what == "" {
		return nil, unexpected(t, "a condition such as host ADDRESS: the one before has no value to repeat")
	}
	if q.what != "proto" && keyword(t) {
		return nil, unexpected(t, "a value")
	}
	p.next()
	var n node
	var err error
	switch q.what {
	case "host":
		n, err = p.hostValue(q, t)
	case "net":
		n, err = p.netValue(q, t)
	case "proto":
		n, err = protoValue(q, t)
	default:
		n, err = portValue(q, t)
	}
	if err != nil {
		return nil, fmt.Errorf("column %d: %w", t.at, err)
	}
	return n, nil
}

// over is the network protocol that an address is looked for in.
func over(q qualifiers) (uint32, error) {
	switch q.proto {
	case "":
		return 0, nil
	case "ip", "arp", "rarp":
		return networks[q.proto], nil
	}
	return 0, fmt.Errorf("%s has no %s; write `%s and %s ...`", q.proto, q.what, q.proto, q.what)
}

func (p *parser) hostValue(q qualifiers, t token) (node, error) {
	if q.proto == "ether" {
		mac, err := packet.ParseMAC(strings.ToLower(padded(t.text)))
		if err != nil || t.kind != tokenMAC {
			return nil, fmt.Errorf("%q is no hardware address such as 02:00:00:00:00:01", t.text)
		}
		return etherNode{mac, q.dir}, nil
	}
	et, err := over(q)
	if err != nil {
		return nil, err
	}
	if t.kind == tokenMAC {
		return nil, fmt.Errorf("%s is a hardware address; write ether host %s", t.text, t.text)
	}
	a, err := netip.ParseAddr(t.text)
	if err != nil || !a.Is4() {
		return nil, fmt.Errorf("%q is no IPv4 address; names are not looked up", t.text)
	}
	if p.peek().text == "/" {
		return nil, fmt.Errorf("%s with a length is a network; write net %s/LENGTH", t.text, t.text)
	}
	return hostNode{packet.AddrFrom(a), packet.Mask(32), q.dir, et}, nil
}

// padded gives every octet of a hardware address two digits and colons between them.
func padded(s string) string {
	octets := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '-' })
	for i, o := range octets {
		if len(o) == 1 {
			octets[i] = "0" + o
		}
	}
	return strings.Join(octets, ":")
}

func (p *parser) netValue(q qualifiers, t token) (node, error) {
	et, err := over(q)
	if err != nil {
		return nil, err
	}
	octets := strings.Split(t.text, ".")
	given := len(octets)
	for len(octets) < 4 {
		octets = append(octets, "0")
	}
	a, err := netip.ParseAddr(strings.Join(octets, "."))
	if err != nil || !a.Is4() {
		return nil, fmt.Errorf("%q is no IPv4 network such as 10.0.0.0/8", t.text)
	}
	addr, mask := packet.AddrFrom(a), packet.Mask(8*given)
	switch {
	case p.accept("/"):
		bits, err := p.numberUpTo(32)
		if err != nil {
			return nil, err
		}
		mask = packet.Mask(int(bits))
	case p.accept("mask"):
		m := p.next()
		ma, err := netip.ParseAddr(m.text)
		if err != nil || !ma.Is4() {
			return nil, fmt.Errorf("%q is no IPv4 mask such as 255.255.0.0", m.text)
		}
		mask = packet.AddrFrom(ma)
	}
	if addr&mask != addr {
		return nil, fmt.Errorf("network %s has bits outside its mask; %s has not", t.text, addr&mask)
	}
	return hostNode{addr, mask, q.dir, et}, nil
}

// services are the port names that are known: a fixed list, so that a filter means the same everywhere.
var services = map[string]uint32{
	"ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68, "tftp": 69,
	"http": 80, "pop3": 110, "ntp": 123, "imap2": 143, "snmp": 161, "bgp": 179, "https": 443, "syslog": 514, "route": 520, "router": 520,
}

func portValue(q qualifiers, t token) (node, error) {
	n := portNode{dir: q.dir}
	switch q.proto {
	case "":
	case "tcp", "udp", "sctp":
		n.proto = transports[q.proto].number
	default:
		return nil, fmt.Errorf("%s has no ports; tcp, udp and sctp have", q.proto)
	}
	low, high := t.text, t.text
	if q.what == "portrange" {
		if _, named := services[t.text]; !named {
			if before, after, found := strings.Cut(t.text, "-"); found {
				low, high = before, after
			}
		}
	}
	var err error
	if n.low, err = portNumber(low); err == nil {
		n.high, err = portNumber(high)
	}
	if n.low > n.high {
		n.low, n.high = n.high, n.low
	}
	return n, err
}

func portNumber(s string) (uint32, error) {
	if n, ok := services[s]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(s, 0, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no port from 0 to 65535, nor a service name known here", s)
	}
	return uint32(n), nil
}

func protoValue(q qualifiers, t token) (node, error) {
	if q.proto == "ether" {
		if et, ok := networks[t.text]; ok {
			return protoNode{number: et, etherProto: true}, nil
		}
		n, err := strconv.ParseUint(t.text, 0, 16)
		if err != nil || n < 0x600 {
			return nil, fmt.Errorf("%q is no EtherType from 0x600 to 0xffff", t.text)
		}
		return protoNode{number: uint32(n), etherProto: true}, nil
	}
	n := protoNode{ip: q.proto != "ip6", ipv6: q.proto != "ip"}
	if q.proto != "" && q.proto != "ip" && q.proto != "ip6" {
		return nil, fmt.Errorf("%s carries no protocol; ip, ip6 and ether do", q.proto)
	}
	if known, ok := transports[t.text]; ok {
		n.number = known.number
		return n, nil
	}
	v, err := strconv.ParseUint(t.text, 0, 8)
	if err != nil {
		return nil, fmt.Errorf("%q is no protocol number from 0 to 255, nor tcp, udp, sctp, icmp, icmp6 or igmp", t.text)
	}
	n.number = uint32(v)
	return n, nil
}

// constants of comparisons.
var constants = map[string]uint32{
	"tcpflags": 13, "tcp-fin": packet.TCPFin, "tcp-syn": packet.TCPSyn, "tcp-rst": packet.TCPRst, "tcp-push": packet.TCPPsh,
	"tcp-ack": packet.TCPAck, "tcp-urg": packet.TCPUrg, "tcp-ece": packet.TCPEce, "tcp-cwr": packet.TCPCwr,
	"icmptype": 0, "icmpcode": 1, "icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5,
	"icmp-echo": 8, "icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12,
	"icmp-tstamp": 13, "icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,
}

func (p *parser) numberUpTo(most uint64) (uint32, error) {
	t := p.next()
	n, err := strconv.ParseUint(t.text, 0, 32)
	if t.kind != tokenWord || err != nil || n > most {
		return 0, unexpected(t, fmt.Sprintf("a number from 0 to %d", most))
	}
	return uint32(n), nil
}
