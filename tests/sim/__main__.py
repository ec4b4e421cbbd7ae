"""`python -m tests.sim [--seeds N] [--first F] [--story KIND] [--seed S]`: tell stories, or one."""

from __future__ import annotations

import argparse
import functools
import sys
import time

from tests.sim.deafness import OneWay, OneWayFast
from tests.sim.kinds import MUTANTS
from tests.sim.schedule import Story, replay_command, run

_STORIES: list[type[Story]] = [Story, OneWay, OneWayFast, *(story for _, story in MUTANTS)]
KINDS = {story.__name__: story for story in _STORIES}


say = functools.partial(print, flush=True)


def replay(kind: type[Story], seed: int) -> int:
    """Tell one story with its log; return the exit status."""
    story = kind(seed, log=True)
    try:
        steps = story.run()
    except AssertionError as error:
        say("\n".join(story.world.log or []))
        say(f"seed {seed}: {type(error).__name__}: {error}")
        return 1
    say("\n".join(story.world.log or []))
    say(f"seed {seed}: all is well after {steps} steps")
    return 0


def many(kind: type[Story], first: int, seeds: int) -> int:
    """Tell many stories; return the exit status."""
    began = shown = time.monotonic()
    failed = 0
    for done, seed in enumerate(range(first, first + seeds), 1):
        try:
            run(seed, kind)
        except AssertionError as error:
            failed += 1
            say(f"\nseed {seed}: {type(error).__name__}: {error}")
            say(f"  replay: {replay_command(seed, kind)}")
        if time.monotonic() - shown > 1 or done == seeds:
            shown = time.monotonic()
            rate = done / (shown - began)
            say(f"\r{done}/{seeds} seeds, {failed} failed, {rate:.1f}/s ", end="")
    say()
    return 1 if failed else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay this one, with its log")
    parser.add_argument("--story", choices=KINDS, default=Story.__name__, help="of which kind")
    arguments = parser.parse_args()
    kind = KINDS[arguments.story]
    if arguments.seed is not None:
        return replay(kind, arguments.seed)
    return many(kind, arguments.first, arguments.seeds)


if __name__ == "__main__":
    sys.exit(main())
