"""Stories that are told step by step, each for a deliberate bug that random ones do not meet."""
