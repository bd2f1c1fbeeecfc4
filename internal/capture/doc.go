// Package capture writes what the router sees as pcapng files and decides with
// tcpdump's filter language what is worth writing.
//
//	stage of the packet path -> Filter.Match -> Writer.Packet -> stream for wireshark
//
// # The file
//
// One section, one interface block a port (Ethernet for a TAP, raw IP for a TUN),
// and one enhanced packet block a packet, as draft-ietf-opsawg-pcapng describes
// them. Stage and drop reason travel in the packet's comment, which wireshark shows as
// a line of the packet and finds with `frame.comment contains "..."`; the direction travels in
// the packet's flags. Existing writers for Go lack packet comments, hence this one. Every
// block leaves in one Write, so that a stream that is cut ends between two packets or
// in the midst of the last.
//
// # The filter
//
// The language is that of pcap-filter(7), without name look-ups and without what no
// router port carries. It is parsed into a tree and evaluated as it stands: a capture
// filter runs beside the packet path, not in it, and a tree can be held against
// tcpdump's own compiler packet by packet, which a test does. Two properties of the
// original are kept with care because they surprise: `and` and `or` bind equally
// tight, from left to right; and a read beyond the end of a packet refuses the packet
// even under a `not`. Three differences are meant: a bare address means `host`; a service
// name means its port in every transport, the same on every machine; and a comparison checks the
// protocols that both of its sides read from.
package capture
