package config

import (
	"net/netip"
	"time"

	"go.yaml.in/yaml/v3"
)

// rawRIP is the section `rip:` as its tables fill it in.
type rawRIP struct {
	at           *yaml.Node // nil: absent
	version      placed[int]
	send         placed[RIPSend]
	receive      placed[RIPReceive]
	timers       rawRIPTimers
	chains       []*rawRIPChain
	lists        []*rawPrefixList
	ports        []*rawRIPPort
	redistribute rawRedistribution
	defaultRoute rawRIPDefaultRoute
	distance     placed[int]
	maxPaths     placed[int]
	maxRoutes    placed[int]
}

type rawRIPTimers struct {
	update, timeout, garbage   placed[time.Duration]
	triggeredMin, triggeredMax placed[time.Duration]
}

type rawRIPChain struct {
	name    string
	at      *yaml.Node
	kind    placed[RIPAuthType]
	keys    []*rawRIPKey
	forget  placed[bool]
	comment placed[string]
}

type rawRIPKey struct {
	at                      *yaml.Node
	id                      placed[int]
	secret                  placed[Secret]
	sendFrom, sendUntil     placed[time.Time]
	acceptFrom, acceptUntil placed[time.Time]
}

// rawPrefixList is a list that stands under prefix_lists or where it is used.
type rawPrefixList struct {
	name  string
	at    *yaml.Node
	rules []*rawPrefixRule
}

type rawPrefixRule struct {
	at      *yaml.Node
	action  placed[string]
	prefix  placed[netip.Prefix]
	ge, le  placed[int]
	comment placed[string]
}

// rawFilter is the name of a prefix list, or the list itself.
type rawFilter struct {
	name   placed[string]
	inline *rawPrefixList
}

type rawRIPPort struct {
	name                string
	at                  *yaml.Node
	passive             placed[bool]
	version             placed[int]
	send                placed[RIPSend]
	receive             placed[RIPReceive]
	cost                placed[int]
	splitHorizon        placed[SplitHorizon]
	timers              rawRIPTimers
	auth                placed[string]
	neighbors           placed[[]placed[netip.Addr]]
	ttlSecurity         placed[bool]
	linkCheck           placed[bool]
	filterIn, filterOut placed[rawFilter]
	offsetIn, offsetOut placed[[]rawOffset]
	comment             placed[string]
}

type rawOffset struct {
	at     *yaml.Node
	filter placed[rawFilter]
	metric placed[int]
}

type rawRedistribution struct {
	connected, static placed[rawRedistribute]
}

type rawRedistribute struct {
	metric, tag placed[int]
	filter      placed[rawFilter]
}

type rawRIPDefaultRoute struct {
	originate   placed[bool]
	metric, tag placed[int]
}
