package router

import (
	"fmt"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dhcp/server"
)

// inspection compares the ARP packets of a port with the leases (RFC 5227 knows no such thing; switches call it dynamic ARP
// inspection).
type inspection struct {
	subnets []*config.DHCPSubnet // those of the port that ask for it
	told    map[inspected]time.Time
	found   uint64 // packets that contradict the leases
}

// inspected is what is told of once a while.
type inspected struct {
	addr packet.Addr
	mac  packet.MAC
}

const (
	// inspectionQuiet is how long nothing more is told of the same station and address, and maxInspected of how many that is remembered.
	inspectionQuiet = time.Minute
	maxInspected    = 1024
)

// changeInspection follows the configuration.
func (r *Router) changeInspection() {
	d := &r.dhcp
	before := d.inspect
	d.inspect = nil
	if r.config.DHCP == nil {
		return
	}
	for i := range r.config.DHCP.Subnets {
		s := &r.config.DHCP.Subnets[i]
		p := r.ports[s.Port]
		if p == nil || s.Inspection == config.InspectionOff || s.Inspection == "" {
			continue
		}
		one := d.inspect[p.id]
		if one == nil {
			one = &inspection{told: map[inspected]time.Time{}}
			if was := before[p.id]; was != nil {
				one.told, one.found = was.told, was.found
			}
			if d.inspect == nil {
				d.inspect = map[dataplane.PortID]*inspection{}
			}
			d.inspect[p.id] = one
		}
		one.subnets = append(one.subnets, s)
	}
}

// contradicts reports an ARP packet that is not to be believed, since its sender has no lease of the address that it claims.
func (r *Router) contradicts(now time.Time, in dataplane.PortID, payload []byte) bool {
	one := r.dhcp.inspect[in]
	if one == nil || r.dhcp.server == nil {
		return false
	}
	m, bad := arp.Decode(payload)
	p := r.byID[in]
	if bad != arp.BadNone || m.SenderAddr == 0 || p == nil || m.SenderMAC == p.cfg.MAC {
		return false
	}
	s := one.subnet(m.SenderAddr)
	if s == nil || r.isKnown(p, s, &m) {
		return false
	}
	lease, there := r.dhcp.server.Lookup(m.SenderAddr)
	bound := there && lease.State == server.Bound
	if bound && len(lease.CHAddr) == 6 && packet.MAC(lease.CHAddr) == m.SenderMAC {
		return false
	}
	one.found++
	if one.tell(now, inspected{m.SenderAddr, m.SenderMAC}) {
		why := "nobody has a lease of it"
		if bound {
			why = "it is leased to " + hardwareText(&lease)
		}
		r.event("dhcp_arp_contradiction", m.SenderAddr.String(), fmt.Sprintf(
			"%v on port %s uses %v, but %s", m.SenderMAC, p.cfg.Name, m.SenderAddr, why),
			map[string]string{"port": p.cfg.Name, "mac": m.SenderMAC.String(), "address": m.SenderAddr.String(), "subnet": s.Name})
		r.serverStep(now, server.Taken{Port: server.PortID(in), Addr: m.SenderAddr, MAC: m.SenderMAC})
	}
	if s.Inspection != config.InspectionDrop {
		return false
	}
	r.dp.CountDrop(dataplane.DropARPInspection)
	return true
}

// subnet is the network in whose ranges an address lies; nil: none.
func (i *inspection) subnet(a packet.Addr) *config.DHCPSubnet {
	within := func(list []config.AddressRange) bool {
		for _, one := range list {
			if packet.AddrFrom(one.First) <= a && a <= packet.AddrFrom(one.Last) {
				return true
			}
		}
		return false
	}
	for _, s := range i.subnets {
		if within(s.Ranges) && !within(s.Exclude) {
			return s
		}
		for k := range s.Pools {
			if within(s.Pools[k].Ranges) {
				return s
			}
		}
	}
	return nil
}

// isKnown reports the sender of an ARP packet who has its address by the configuration.
func (r *Router) isKnown(p *portState, s *config.DHCPSubnet, m *arp.Message) bool {
	a := m.SenderAddr.Netip()
	for _, own := range p.addresses() {
		if own.Addr() == a { // an address conflict, which is ARP's to tell of
			return true
		}
	}
	for i := range r.config.Neighbors {
		if n := &r.config.Neighbors[i]; n.Port == p.cfg.Name && n.Address == a && n.MAC == m.SenderMAC {
			return true
		}
	}
	for i := range s.Reservations {
		if v := &s.Reservations[i]; v.Address == a && v.MAC == m.SenderMAC {
			return true
		}
	}
	return false
}

// tell reports whether something is news.
func (i *inspection) tell(now time.Time, what inspected) bool {
	if last, ok := i.told[what]; ok && now.Sub(last) < inspectionQuiet {
		return false
	}
	if len(i.told) >= maxInspected {
		for k, last := range i.told {
			if now.Sub(last) >= inspectionQuiet {
				delete(i.told, k)
			}
		}
		if len(i.told) >= maxInspected {
			return false
		}
	}
	i.told[what] = now
	return true
}
