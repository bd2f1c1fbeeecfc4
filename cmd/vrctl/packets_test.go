package main

import (
	"bytes"
	"net"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// capturedPackets is a pcapng stream as the daemon makes it: two ports, one of them
// without Ethernet headers, and comments that tell stage and drop reason.
func capturedPackets() ([]byte, error) {
	var out bytes.Buffer
	w, err := pcapgo.NewNgWriterInterface(&out, pcapgo.NgInterface{Name: "lan", LinkType: layers.LinkTypeEthernet, TimestampResolution: 9, SnapLength: 65535}, pcapgo.DefaultNgWriterOptions)
	if err != nil {
		return nil, err
	}
	tun, err := w.AddInterface(pcapgo.NgInterface{Name: "wan", LinkType: layers.LinkTypeRaw, TimestampResolution: 9, SnapLength: 65535})
	if err != nil {
		return nil, err
	}
	mac1, mac2 := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	ip1, ip2 := net.IP{10, 1, 0, 2}, net.IP{10, 9, 0, 2}
	ether := func(kind layers.EthernetType) *layers.Ethernet {
		return &layers.Ethernet{SrcMAC: mac1, DstMAC: mac2, EthernetType: kind}
	}
	ip := func(protocol layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 63, Protocol: protocol, SrcIP: ip1, DstIP: ip2}
	}
	udp := &layers.UDP{SrcPort: 53, DstPort: 1024}
	udpIP := ip(layers.IPProtocolUDP)
	tcp := &layers.TCP{SrcPort: 80, DstPort: 4321, SYN: true, ACK: true, Seq: 7, Ack: 8, Window: 512}
	tcpIP := ip(layers.IPProtocolTCP)
	if err := udp.SetNetworkLayerForChecksum(udpIP); err != nil {
		return nil, err
	}
	if err := tcp.SetNetworkLayerForChecksum(tcpIP); err != nil {
		return nil, err
	}
	fragment := ip(layers.IPProtocolUDP)
	fragment.Id, fragment.FragOffset = 99, 185
	for i, p := range []struct {
		port    int
		comment string
		layers  []gopacket.SerializableLayer
	}{
		{0, "stage=rx", []gopacket.SerializableLayer{ether(layers.EthernetTypeARP), &layers.ARP{AddrType: 1, Protocol: 0x800, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: 1, SourceHwAddress: mac1, SourceProtAddress: ip1, DstHwAddress: make([]byte, 6), DstProtAddress: []byte{10, 1, 0, 1}}}},
		{0, "stage=rx", []gopacket.SerializableLayer{ether(layers.EthernetTypeIPv4), ip(layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 5, Seq: 1}, gopacket.Payload("hello")}},
		{tun, "stage=drop", []gopacket.SerializableLayer{udpIP, udp, gopacket.Payload("hello")}},
		{tun, "stage=tx", []gopacket.SerializableLayer{tcpIP, tcp}},
		{tun, "stage=tx", []gopacket.SerializableLayer{fragment, gopacket.Payload("more")}},
		{0, "stage=rx", []gopacket.SerializableLayer{ether(layers.EthernetTypeIPv4), gopacket.Payload("E")}},
		{0, "stage=rx", []gopacket.SerializableLayer{ether(0x88cc), gopacket.Payload("lldp")}},
	} {
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, p.layers...); err != nil {
			return nil, err
		}
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1767323045, int64(i)*1000000).UTC(), CaptureLength: len(b.Bytes()), Length: len(b.Bytes()), InterfaceIndex: p.port}
		if err := w.WritePacketWithOptions(info, b.Bytes(), pcapgo.NgPacketOptions{Comments: []string{p.comment}}); err != nil {
			return nil, err
		}
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
