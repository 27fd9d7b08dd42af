// Package trace prints frames as one line each, in the form of tcpdump -nn:
//
//	14:23:15.123456 IP 192.168.1.100.52431 > 93.184.216.34.80: Flags [S], seq 1823761425, win 65535, options [mss 1460,sackOK,TS val 1234567 ecr 0,nop,wscale 7], length 0
//
// Where it says more than tcpdump, it says it at an end of the line: an 802.1Q
// tag in front ("vlan 100, p 3, "), and behind in parentheses the wire.Reason for
// which fastsyn would drop the frame ("(bad_tcp_checksum)"). It is meant for
// people; it allocates little but is no hot path.
package trace
