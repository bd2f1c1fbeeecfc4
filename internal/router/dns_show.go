package router

import "vrouterd/internal/control/api"

// DNS is the row of `show dns`.
func (r *Router) DNS() (rows []api.DNS) { return nil }

// DNSCache is a page of `show dns cache`.
func (r *Router) DNSCache(api.DNSQuery) (page api.DNSCachePage, err error) { return page, nil }

// DNSNames is a page of `show dns names`.
func (r *Router) DNSNames(api.DNSQuery) (page api.DNSNamePage, err error) { return page, nil }

// FlushDNS forgets the answers of a name, or all, and tells how many.
func (r *Router) FlushDNS(api.Peer, string) (int, error) {
	return 0, &api.Error{Code: api.Conflict, Message: "DNS is not configured: a section `dns:` starts it"}
}
