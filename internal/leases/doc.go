// Package leases keeps the leases of the DHCP server on disk: an append-only journal that a person can read, made durable in
// groups, whole after a cut at any octet.
//
// One line is one record. A lease is what its last line says:
//
//	vrouterd-leases 1
//	2026-11-30T17:05:22Z bound 192.168.1.100 02:00:00:00:00:09 until=2026-12-01T05:05:22Z subnet=lan id=01020000000009 name=printer #8d3f02aa
//	2026-11-30T18:00:00Z free 192.168.1.101 #4a1f0c77
//
// The words are: when the lease was given (a renewal leaves that), or forgotten (`-`: unknown); bound, released, expired, declined or free, which forgets it; the
// address; the hardware address (`-`: none); then, in any order, until= (a time, or never), and what there is of type= (of the hardware
// address, where it is not Ethernet's 1), subnet= (the entry under `dhcp:`), id= (option 61), name=, vendor= (option 60) and agent= (option 82). Octets are in
// hexadecimal; a text with anything but letters, digits, `-`, `_` and `.` is in quotes, as Go writes them. Times are whole seconds: a lease never ends
// earlier than its client was told.
//
// The last word is a checksum of what stands before it (CRC-32C). A line that a person has changed or written needs none: take
// the word away. A last line without an end was cut off, and is dropped, unless its checksum says that it is whole; any other line
// that is damaged is told of in the log with its text, and passed over. Both stay as good as they were until the journal is written anew.
//
// [Journal.Append] hands records to one goroutine. It writes all that has come meanwhile with one write and one fdatasync
// and then calls what waits for them: the more leases a second, the larger the groups. When the journal holds more dead lines than live
// ones (and more than a thousand) it is written anew beside the old one, which goes on meanwhile and is then replaced. A write that fails is taken back, a sync
// that fails makes the journal be written anew before anything else is: what the disk has kept then, nobody knows. So does a file that was removed or replaced
// meanwhile: it is to be edited while the router stands still.
//
// [ParseDnsmasq] reads the leases of dnsmasq, for those who come from there.
package leases
