"""The gate of the state repo: git's hooks ask here whether a push may come in, and tell the pusher what becomes of it.

It makes the message early; it is not what protects the appliance. The controller judges every commit again, by the
same rules, however the branch came to point at it.
"""
