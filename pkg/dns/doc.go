// Package dns is a forwarder of DNS (RFC 1034, RFC 1035, RFC 5625) with a cache, and the names of the hosts here. docs/dns.md has its design.
package dns
