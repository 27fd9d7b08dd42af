// Package guest boots a small virtual machine for a test: QEMU with a NIC that
// this machine lacks, a kernel of Debian's, and an initramfs made here from
// programs of the host. The kernel in the lab's namespace is the peer on the
// other side of the NIC. Nothing is installed, and when the test ends nothing is left.
//
//	lab := dptest.NewTapLab(t, dptest.LabQueues(2))
//	im := new(guest.Image)
//	err := im.Program("/bin/prog", "/tmp/prog") // with its shared libraries
//	g := guest.Boot(t, lab, guest.Config{
//		Image: im, NIC: "virtio-net-pci,mq=on,rss=on,vectors=6", Driver: guest.UIO, HugePages: 64,
//	})
//	r := g.Run(t, "prog --list")
//
// QEMU emulates the processor (TCG), so that it runs where virtualization is not to
// be had. That is right for what is correct, and says nothing about speed.
package guest
