"""The entry point of the `voxnix` command."""

from __future__ import annotations

import sys

from controller.cli import app


def main() -> None:
    """Run `voxnix` and exit."""
    sys.exit(app.main())


if __name__ == "__main__":
    main()
