// Package igd is the router's Internet Gateway Device: hosts inside find it (SSDP), read what it is (description
// documents), and ask it for port mappings (SOAP), as UPnP has it. The NAT stands behind [Gateway].
//
//	datagram to 239.255.255.250:1900 -> Search -> answers, to whoever asked
//	Alive, ByeBye -> datagrams to 239.255.255.250:1900
//	connection -> Serve -> permitted? -> Handler -> document
//	                                             -> parseCall -> decode -> action -> Gateway -> answer, or fault
//
// # What it is
//
// It is two devices in one: an InternetGatewayDevice:1 with WANIPConnection:1, which is what it announces and what it answers
// searches for everything with, and, for whoever searches for version 2 by its name, an InternetGatewayDevice:2 with
// WANIPConnection:2 (AddAnyPortMapping, DeletePortMappingRange, GetListOfPortMappings). They have documents and identifiers of
// their own and do the same: clients from before version 2 stumble over a description that has it.
// What the documents say of actions and their arguments, and what is accepted, are one table (tables.go).
//
// # Whom it believes
//
// UPnP has no authentication. So a host gets what concerns itself and nothing else, as WANIPConnection:2 wants it for
// control points that nobody has authorized: NewInternalClient must be the address that the request came from, or the answer
// is 606; a mapping of another host is neither shown nor removed. Nothing but mappings can be changed.
//
//   - Only peers that [Config].Permitted knows are answered, whatever address they reached.
//   - The Host of a request must be the literal address and port that it came in on: a page whose
//     name has been pointed at the router (DNS rebinding) gets nothing. That SOAPACTION must be there, which a browser
//     sends nowhere without asking first, keeps forms of strange pages away.
//   - There are no events: SUBSCRIBE is refused, so that nobody can have the router call
//     someone else (CallStranger, CVE-2020-12695). The documents declare no variable as evented.
//   - Connections, their number for each host, headers, bodies, arguments and times are bounded; a document type in a request is refused;
//     searches are answered to a number of datagrams a second for each host, and for all.
//
// # Leases
//
// A mapping has an end. Lease 0, which in version 1 means "for ever", gets the configured longest lease, and so does
// any longer one; GetSpecificPortMappingEntry tells what is left. Clients that run renew what they need, and those that have gone do not
// leave holes behind. External port 0 (all ports) and disabled mappings are not to be had.
package igd
