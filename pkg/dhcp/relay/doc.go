// Package relay is a DHCP relay agent (RFC 1542 section 4, RFC 3046): it carries the messages of clients on a port to servers
// elsewhere, and the answers back.
//
//	client ---> ladder of named refusals ---> giaddr, hops + 1, option 82 ---> every server of the port
//	client <--- broadcast, or its hardware address <--- option 82 taken off <--- port of giaddr <--- ladder <--- server
//
// A message is patched where it stands, and never decoded and written anew: the order of options, unknown ones, padding and what is
// malformed within an option arrive as they left. Only hops and giaddr change on the way to a server, and option 82 goes in before the end option; on the way
// back option 82 goes out. BOOTP messages without options are relayed too.
//
// # Whose giaddr
//
// A request whose giaddr is set comes from another relay agent, nearer to the client. It keeps its giaddr and gets no option 82 (RFC 3046 section 2.1.1); the
// answer goes to that agent and is not our business. A giaddr that is ours on a request is a forgery, or a loop.
// Answers count only from a server of the port that giaddr, or the circuit id where ports share an address, leads to.
//
// # Bounds
//
// One message in, one message out a server. Nothing is kept between messages. Option 82 is left out of a message that would be longer than 1472 octets with
// it, which is what an Ethernet frame holds (RFC 3046 section 2.1).
//
// # Files
//
// types.go, reason.go; machine.go (ladders and addressing), patch.go (octets).
package relay
