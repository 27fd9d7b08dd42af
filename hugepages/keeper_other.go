//go:build !linux

package hugepages

func newKeeper() (*Keeper, error) {
	root, err := systemRoot()
	return &Keeper{root: root}, err
}
