"""The entry point of the `voxnix` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `voxnix` and exit. Hooks are kept apart from all else: whoever pushes waits for them."""
    if sys.argv[1:2] == ["hook"]:
        from controller.gate import hook

        sys.exit(hook.main(sys.argv[2:]))
    from controller.cli import app

    sys.exit(app.main())


if __name__ == "__main__":
    main()
