"""Speed and size, measured: `python -m tests.bench` prints one table of ratios, all of them from one run.

Everything is measured beside a floor or a peer of the same minute, and as the median of several rounds: the numbers
are for comparing, wherever they are taken. Nothing here leaves this machine, and nothing is left behind.
"""
