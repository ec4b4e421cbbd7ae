"""What others do in the same place, measured in the same lab: `make bench`.

Each module but `peers`, `results` and `__main__` is a benchmark with a function `run`.
"""
