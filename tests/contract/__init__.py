"""What the host's tools do, pinned: the same cases run on the simulated host and on a real one."""
