"""Build the wheel and its bill of materials: `python images/wheel.py FOLDER` prints the path of the wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from build import IMAGES, REPOSITORY
from sbom import wheel_bill


def main(arguments: list[str]) -> int:
    """Write `seedbed-….whl` and `seedbed-….cdx.json` into a folder."""
    folder = Path(arguments[0])
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(REPOSITORY)], check=True)
    (wheel,) = folder.glob("seedbed-*.whl")
    bill = wheel_bill(wheel, [image.lock for image in IMAGES.values()])
    wheel.with_suffix(".cdx.json").write_text(bill, encoding="utf-8")
    print(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
