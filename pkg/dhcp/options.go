package dhcp

// Codes of options (RFC 2132 where nothing else is said).
const (
	OptionSubnetMask        = 1
	OptionRouter            = 3
	OptionDNS               = 6
	OptionHostname          = 12
	OptionDomain            = 15
	OptionMTU               = 26
	OptionBroadcast         = 28
	OptionNTP               = 42
	OptionVendorSpecific    = 43
	OptionRequestedAddress  = 50
	OptionLeaseTime         = 51
	OptionOverload          = 52
	OptionMessageType       = 53
	OptionServerID          = 54
	OptionParameterRequests = 55
	OptionMessage           = 56
	OptionMaxMessageSize    = 57
	OptionRenewalTime       = 58 // T1
	OptionRebindingTime     = 59 // T2
	OptionVendorClass       = 60
	OptionClientID          = 61
	OptionTFTPServer        = 66
	OptionBootfile          = 67
	OptionUserClass         = 77  // RFC 3004
	OptionRapidCommit       = 80  // RFC 4039
	OptionFQDN              = 81  // RFC 4702
	OptionRelayAgent        = 82  // RFC 3046
	OptionSubnetSelection   = 118 // RFC 3011
	OptionSearch            = 119 // RFC 3397
	OptionClasslessRoutes   = 121 // RFC 3442
	OptionTFTPServers       = 150 // RFC 5859
	OptionEnd               = 255
)

// Sub-options of the relay agent's information (RFC 3046 section 2.0, RFC 3527, RFC 5107).
const (
	RelayCircuitID      = 1
	RelayRemoteID       = 2
	RelayLinkSelection  = 5
	RelayServerOverride = 11
)
