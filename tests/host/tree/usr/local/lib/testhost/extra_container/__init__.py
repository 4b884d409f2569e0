"""Stands in for extra-container: installs, starts, updates and destroys containers as the real script does.

Files, links, their order, what is printed and the exit codes are the real script's (0.14, on NixOS since 22.05); also
where it says it has done what it has not. What a definition evaluates to is another matter: without nixpkgs, it must
be the build result itself. `shell` and SSH keys are left out. Never decides anything that the real one does not.
"""
