"""Deliberate bugs, each one small rule left out: what a test of the rules must find.

A mutant is a change of the text of a module. Some are found by random stories (`tests.sim.kinds`),
others by a story that is made for them (`tests.sim.scenes`).
"""
