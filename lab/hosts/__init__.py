"""Hosts with a kernel of their own: virtual machines at the lab's switch, beside namespaces.

`lab.debian` says which Debian each kernel comes from, `roots` and `images` make their disks (with
`chroot`). `qemu` runs a machine (and talks with it over a `channel`), `guest` is what the lab sees
of it, `served` is a cluster that it is in. The modules `ask_*` are what `make test-hosts` asks of
it, and `report` is what that prints.
"""
