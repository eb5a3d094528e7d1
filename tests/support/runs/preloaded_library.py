"""A C library that changes the floating point mode, built for LD_PRELOAD."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FLUSH_TO_ZERO = """
#include <xmmintrin.h>
__attribute__((constructor)) static void on(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }
"""


def built(folder: Path, source: str) -> Path:
    """Return a library that is made of a source in C."""
    if shutil.which("cc") is None:
        pytest.skip("not run: no C compiler (cc)")
    (folder / "source.c").write_text(source)
    library = folder / "library.so"
    words = ["cc", "-shared", "-fPIC", "-o", library, folder / "source.c", "-lm", "-ldl"]
    subprocess.run(words, check=True)
    return library


def preload(library: Path) -> dict[str, str]:
    """Return the environment that loads a library first. LD_PRELOAD splits at spaces, the search path does not."""
    return {"LD_PRELOAD": library.name, "LD_LIBRARY_PATH": str(library.parent)}
