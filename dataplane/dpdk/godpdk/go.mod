module github.com/fastsyn/fastsyn/dataplane/dpdk/godpdk

go 1.26.8

require (
	github.com/fastsyn/fastsyn v0.0.0
	github.com/stretchr/testify v1.12.1
	github.com/yerden/go-dpdk v0.1.0
)

require (
	github.com/gopacket/gopacket v1.7.7 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/net v0.55.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/fastsyn/fastsyn => ../../..
