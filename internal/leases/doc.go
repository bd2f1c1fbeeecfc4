// Package leases keeps the leases of the DHCP server on disk: an append-only journal that a person can read, made durable in
// groups, whole after a cut at any octet.
//
// One line is one record. A lease is what its last line says:
//
//	vrouterd-leases 1
//	2026-11-30T17:05:22Z bound 192.168.1.100 02:00:00:00:00:09 until=2026-12-01T05:05:22Z subnet=lan id=01020000000009 name=printer #8d3f02aa
//
// The last word is a checksum of what stands before it. A line that is not whole ends the journal if it is the last, and is told of and passed over otherwise.
//
// [Journal.Append] hands records to one goroutine. It writes all that has come meanwhile with one write and one fdatasync
// and then calls what waits for them: the more leases a second, the larger the groups. When the journal holds more dead lines than live
// ones it is written anew beside the old one, which it then replaces.
package leases
