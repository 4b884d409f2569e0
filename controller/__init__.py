"""voxnix: containers converged from a git repository.

The pure core (`errors`, `spec`, `observed`, `plan`, `status`, `admission`) decides; everything else acts on what
it decided. The agent never acts, and the controller never invents: see `docs/design.md`.
"""
