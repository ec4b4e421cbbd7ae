"""Hosts, servers and clients that are real but for the wires: see lab/topology.py."""
