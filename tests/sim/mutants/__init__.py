"""Deliberate bugs, each one small rule overridden: what a test of the rules must find.

Some are found by random stories (`tests.sim.kinds`), others by a story that is made for them
(`tests.sim.scenes`).
"""
