// Package netlab makes two network namespaces joined by a veth pair: one for
// fastsyn, one for a kernel that is its peer. Nothing outside of the two is touched.
// Tests have it by way of dptest, the command by fastsyn lab.
package netlab
