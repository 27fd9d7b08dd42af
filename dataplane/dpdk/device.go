package dpdk

// Device are the facts of an ethdev as its driver tells them
// (rte_eth_dev_info_get, rte_eth_link_get), whatever it was configured to.
type Device struct {
	Port   int    `json:"port"` // DPDK's number for it
	Name   string `json:"name"` // PCI address or virtual device name
	Driver string `json:"driver"`
	Bus    string `json:"bus"` // "pci", "vdev", ...
	MAC    string `json:"mac"`
	NUMA   int    `json:"numa"` // node, -1: any

	LinkUp    bool   `json:"link_up"`
	LinkMbps  uint32 `json:"link_mbps"` // 0: unknown
	MTU       int    `json:"mtu"`
	MinMTU    int    `json:"min_mtu"`
	MaxMTU    int    `json:"max_mtu"`
	MaxQueues int    `json:"max_queues"` // receive/transmit pairs

	RxDesc DescLimits `json:"rx_desc"`
	TxDesc DescLimits `json:"tx_desc"`

	// RSS is what the device can hash and where to. RETASize 0: it does not spread.
	RSSTypes []string `json:"rss_types"` // such as "ipv4-tcp"
	RETASize int      `json:"reta_size"`
	KeySize  int      `json:"key_size"`

	// Offloads by DPDK's names, such as "TCP_CKSUM".
	RxOffloads []string `json:"rx_offloads"`
	TxOffloads []string `json:"tx_offloads"`
}

// DescLimits are the descriptor counts a ring can have.
type DescLimits struct {
	Min   int `json:"min"`
	Max   int `json:"max"`
	Align int `json:"align"`
}
