"""The `voxnix` command: what people type, and how it is told to them.

It decides nothing about containers. It reads what the controller published, and writes commits, or the few records
that root may leave in the store. Modules load only for the command that is called, so that `status` starts at once.
"""
