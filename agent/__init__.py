"""The agent: people say what they want, it draws up a change and commits it in their name. It never acts.

It reads the controller's socket and writes desired state as a delegate. It knows the controller's pure core, its
settings and its API client, and git through `agent.outbox` alone; no host, no process, no network but the model's.
"""
