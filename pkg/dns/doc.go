// Package dns is a forwarder of DNS (RFC 1034, RFC 1035, RFC 5625) with a cache, and the names of the hosts here. docs/dns.md has its design.
//
// The package is a pure machine: messages, failures and time go into Step, and actions come out. The way of a query:
//
//	question.read   what is asked, in what way; or why it is refused        question.go, reason.go
//	Machine.hit     an answer that is kept                                  cache.go
//	Machine.here    records, leases, reservations, aliases, zones of ours   local.go, names.go, zones.go
//	Machine.askFor  who asks for the same waits for the same                flight.go
//	Machine.choose  the healthiest server of the most specific domain       ask.go, upstream.go
//	Machine.reply   is it the answer, is it sound, may it be kept           reply.go, rebind.go
//	entry.appendAnswer  number, flags, spelling, TTLs, size of this client  answer.go
//
// An answer is kept as the message that it is, with the places of its TTLs. To give it means to copy it and to patch it: no message is
// decoded, and nothing allocated. Machine.Quick is that way alone, without the boxes of events and actions. The twin in twin_test.go works the same out
// from decoded messages. What is passed on is only looked at: records that nobody here knows go through as they are (RFC 3597).
// github.com/miekg/dns makes the messages of local names and writes out tables.
//
// What is kept of a reply is the whole message, under its question. It is never an answer to another question: nobody can put a record into the cache
// that was not asked for.
package dns
