package dataplane

import (
	"vrouterd/internal/packet"
)

const (
	// headroom stands before every packet in a buffer, for the headers that the
	// egress puts there: it holds the longest of them and keeps the IP header aligned.
	headroom = 64
	// maxPacket is the longest IP packet.
	maxPacket = 65535
	// bufferLen holds a whole super-frame with everything before it. Some
	// kernels pad; a page of slack makes a too-long frame visible as such.
	bufferLen = headroom + maxPacket + 1 + 4096
)

// work is a packet on its way. The buffer is borrowed from the worker: whoever
// keeps a packet past the call copies it.
type work struct {
	buf  []byte // borrowed: of bufferLen; the IP header stands at headroom
	end  int    // end of the packet in buf
	in   PortID // arrival port; 0 for the router's own packets
	vnet packet.Vnet
	// The offsets in vnet count from the IP header, on every port: the
	// link-layer header is the egress port's affair.

	group  bool // came in a link-layer broadcast or multicast
	own    bool // sent by the router: no TTL step, no redirect, no reverse-path check
	alert  bool // its router alert has been looked at
	repeat bool // its session has counted it: it has waited in the control plane
	helped bool // a helper has looked at it
	opts   optionSet

	flow *flow // what NAT is to do to it, at the first octet that is changed; nil: nothing
}

// dst is where the packet goes: its destination as it will be when it leaves.
func (p *work) dst() packet.Addr {
	if p.flow != nil {
		return p.flow.rewrite.Dst
	}
	return p.ip().Dst()
}

func (p *work) ip() packet.IPv4 { return packet.IPv4(p.buf[headroom:p.end]) }
func (p *work) len() int        { return p.end - headroom }
func (p *work) link() []byte    { return p.buf[headroom-packet.EthernetLen : headroom] }
func (p *work) partial() bool   { return p.vnet.Flags&packet.VnetNeedsChecksum != 0 }

// wireLen is the length of the longest IP packet that this one is on the
// wire: its own, or that of a segment of a super-frame.
func (p *work) wireLen() int {
	if !p.vnet.IsSuper() {
		return p.len()
	}
	return min(p.len(), p.headersLen()+int(p.vnet.GSOSize))
}

// headersLen is the length of the IP and transport headers of a super-frame.
// The device's own figure is advice only (virtio 1.2 section 5.1.6.2), so
// it is read from the headers; checkVnet has made sure that they are there.
func (p *work) headersLen() int {
	ip := p.ip()
	hl := ip.HeaderLen()
	if ip.Protocol() == packet.ProtoTCP {
		return hl + packet.TCP(ip[hl:]).HeaderLen()
	}
	return hl + packet.UDPLen
}

// segments is how many packets this one is on the wire.
func (p *work) segments() int {
	if !p.vnet.IsSuper() {
		return 1
	}
	payload := p.len() - p.headersLen()
	return max(1, (payload+int(p.vnet.GSOSize)-1)/int(p.vnet.GSOSize))
}

// arrived is segments for a frame whose headers nobody has checked yet. The device's
// header length will not do: Linux puts there how much of the frame lies in one piece.
func (p *work) arrived() int {
	if !p.vnet.IsSuper() || p.vnet.GSOSize == 0 || p.len() < packet.IPv4MinLen {
		return 1
	}
	ip := p.ip()
	headers := ip.HeaderLen()
	switch {
	case p.vnet.GSOType&^packet.GSOECN == packet.GSOUDPL4:
		headers += packet.UDPLen
	case len(ip) >= headers+packet.TCPMinLen:
		headers += packet.TCP(ip[headers:]).HeaderLen()
	}
	payload := max(0, len(ip)-headers)
	return max(1, (payload+int(p.vnet.GSOSize)-1)/int(p.vnet.GSOSize))
}

// checkVnet holds the offload header against the packet, so that no later stage
// reads beyond it. The IP header is already known to be good.
func (p *work) checkVnet() bool {
	v := &p.vnet
	if v.Flags&packet.VnetNeedsChecksum != 0 {
		at, off := int(v.ChecksumAt), int(v.ChecksumOff)
		// A sum over the whole cannot be left open in a fragment of it.
		if at != p.ip().HeaderLen() || at+off+2 > p.len() || p.ip().IsFragment() {
			return false
		}
	}
	if !v.IsSuper() {
		return v.GSOType == packet.GSONone // a lone ECN bit is no type
	}
	ip := p.ip()
	hl, n := ip.HeaderLen(), p.len()
	if v.GSOSize == 0 || ip.IsFragment() || v.Flags&packet.VnetNeedsChecksum == 0 {
		return false
	}
	switch v.GSOType &^ packet.GSOECN {
	case packet.GSOTCPv4:
		if ip.Protocol() != packet.ProtoTCP || n < hl+packet.TCPMinLen || v.ChecksumOff != 16 {
			return false
		}
		tl := packet.TCP(ip[hl:]).HeaderLen()
		return tl >= packet.TCPMinLen && hl+tl <= n
	case packet.GSOUDPL4:
		return ip.Protocol() == packet.ProtoUDP && n >= hl+packet.UDPLen && v.ChecksumOff == 6
	}
	return false
}
