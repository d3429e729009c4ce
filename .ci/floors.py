"""The lowest versions that pyproject.toml promises, as constraints for pip: ``python .ci/floors.py > floors.txt``.

Left out, with a word on stderr: torch, of which only one version is at hand where this runs (another is a download of
gigabytes), and what has no wheel for this Python at its lowest version.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = ("experiments", "sklearn")
UNTRIED = {"torch": "any version but that of constraints.txt is a download of gigabytes"}


def has_wheel(pin: str) -> bool:
    """Tell whether pip finds a wheel of this very version for this Python."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder, pin]
        return subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, check=False).returncode == 0


def main() -> None:
    """Print a line a package."""
    wanted = [*PROJECT["dependencies"], *(line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra])]
    for line in sorted(set(wanted)):
        name, floor = re.fullmatch(r"([\w.-]+)>=([\d.]+)", line).groups()
        pin = f"{name}=={floor}" if floor.count(".") else f"{name}=={floor}.0"
        if name in UNTRIED:
            print(f"not tried: {line}: {UNTRIED[name]}", file=sys.stderr)
        elif has_wheel(pin):
            print(pin)
        else:
            print(
                f"not tried: {line}: no wheel for Python {sys.version_info.major}.{sys.version_info.minor}",
                file=sys.stderr,
            )


if __name__ == "__main__":
    main()
