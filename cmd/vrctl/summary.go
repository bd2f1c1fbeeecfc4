package main

import (
	"fmt"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// summary of a packet in a line, as tcpdump's readers know it.
func summary(data []byte, link layers.LinkType) string {
	p := gopacket.NewPacket(data, link, gopacket.DecodeOptions{NoCopy: true})
	if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		return arpSummary(arp)
	}
	ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ok || ip.SrcIP == nil {
		return frameSummary(p, len(data))
	}
	tail := fmt.Sprintf(", ttl %d, %d octets", ip.TTL, ip.Length)
	if ip.FragOffset > 0 {
		return fmt.Sprintf("%s > %s: %s, fragment %d at %d%s", ip.SrcIP, ip.DstIP, ip.Protocol, ip.Id, int(ip.FragOffset)*8, tail)
	}
	if ip.Flags&layers.IPv4MoreFragments != 0 {
		tail += fmt.Sprintf(", first fragment of %d", ip.Id)
	}
	switch l := p.TransportLayer().(type) {
	case *layers.TCP:
		return fmt.Sprintf("%s.%d > %s.%d: TCP [%s] seq %d ack %d win %d%s", ip.SrcIP, l.SrcPort, ip.DstIP, l.DstPort, tcpFlags(l), l.Seq, l.Ack, l.Window, tail)
	case *layers.UDP:
		return fmt.Sprintf("%s.%d > %s.%d: UDP %d%s", ip.SrcIP, l.SrcPort, ip.DstIP, l.DstPort, max(int(l.Length)-8, 0), tail)
	}
	if icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		return fmt.Sprintf("%s > %s: ICMP %s%s", ip.SrcIP, ip.DstIP, icmpWords(icmp), tail)
	}
	return fmt.Sprintf("%s > %s: %s%s", ip.SrcIP, ip.DstIP, ip.Protocol, tail)
}

func arpSummary(a *layers.ARP) string {
	src, dst, mac := address(a.SourceProtAddress), address(a.DstProtAddress), hardware(a.SourceHwAddress)
	switch a.Operation {
	case layers.ARPRequest:
		return fmt.Sprintf("ARP who has %s? tell %s (%s)", dst, src, mac)
	case layers.ARPReply:
		return fmt.Sprintf("ARP %s is at %s", src, mac)
	}
	return fmt.Sprintf("ARP operation %d from %s", a.Operation, src)
}

func address(b []byte) string {
	parts := make([]string, len(b))
	for i, v := range b {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, ".")
}

func hardware(b []byte) string { return strings.ReplaceAll(fmt.Sprintf("% x", b), " ", ":") }

func frameSummary(p gopacket.Packet, size int) string {
	if e, ok := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet); ok {
		return fmt.Sprintf("%s > %s: ethertype 0x%04x, %d octets", e.SrcMAC, e.DstMAC, uint16(e.EthernetType), size)
	}
	return fmt.Sprintf("a packet that cannot be read, %d octets", size)
}

func tcpFlags(t *layers.TCP) string {
	var b strings.Builder
	for _, f := range []struct {
		set  bool
		sign string
	}{{t.SYN, "S"}, {t.FIN, "F"}, {t.RST, "R"}, {t.PSH, "P"}, {t.ACK, "."}, {t.URG, "U"}, {t.ECE, "E"}, {t.CWR, "W"}} {
		if f.set {
			b.WriteString(f.sign)
		}
	}
	return b.String()
}

func icmpWords(i *layers.ICMPv4) string {
	switch i.TypeCode.Type() {
	case layers.ICMPv4TypeEchoRequest:
		return fmt.Sprintf("echo request id %d seq %d", i.Id, i.Seq)
	case layers.ICMPv4TypeEchoReply:
		return fmt.Sprintf("echo reply id %d seq %d", i.Id, i.Seq)
	case layers.ICMPv4TypeDestinationUnreachable:
		if i.TypeCode.Code() == layers.ICMPv4CodeFragmentationNeeded {
			return fmt.Sprintf("fragmentation needed, mtu %d", i.Seq)
		}
	}
	return i.TypeCode.String()
}
