"""The host: the only code that starts processes, reads the host's files or talks to a control plane.

Drivers are small classes that turn verbs into commands and check the world afterwards. What to do is decided
elsewhere (`controller.plan`); nothing here plans.
"""
