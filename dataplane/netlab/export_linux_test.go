package netlab

// For the tests, which are in a package of their own as dptest imports this one.
var (
	OwnerOf  = ownerOf
	RunIP    = ip
	RemoveNS = removeNS
)

// Where namespaces are, and how their names begin.
const (
	Dir    = nsDir
	Prefix = nsPrefix
)
