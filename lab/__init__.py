"""A small network on one machine: hosts that share a VIP, and a client that looks at them.

`topology` draws it, `demo` tells a story with it, `tests/lan` asserts with it.
"""
