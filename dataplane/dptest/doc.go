// Package dptest helps to test what sits on a data plane: Need states what a
// test needs of the machine, Lab makes a pair of network namespaces, and Port
// is a scripted port that fails the test when a frame leaks.
package dptest
