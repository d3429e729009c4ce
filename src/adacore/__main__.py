"""``python -m adacore``: the same as the command ``adacore``, where that is not on the path."""

from adacore.cli import main

raise SystemExit(main())
