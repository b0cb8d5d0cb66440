"""The places and errors of code that is neither this package's nor PyTorch's."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

_HERE = Path(__file__).resolve().parents[2]
_STDLIB = Path(sysconfig.get_paths()["stdlib"])
_SHOWN = 300  # characters of a message


def is_users(file: str) -> bool:
    """Return whether a file of code is the user's, or of a library that has networks."""
    torch, path = sys.modules.get("torch"), Path(file).resolve()
    folders = [_HERE] + ([Path(torch.__file__).parent] if torch and torch.__file__ else [])
    if not path.is_file() or any(path.is_relative_to(folder) for folder in folders):
        return False
    return not path.is_relative_to(_STDLIB) or "site-packages" in path.parts


def described_error(error: BaseException) -> str:
    """Return the class, the first line and the place in the user's code of an error."""
    text = str(error).strip().partition("\n")[0][:_SHOWN]
    frames = [each for each in traceback.extract_tb(error.__traceback__) if is_users(each.filename)]
    where = f"; {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {text}{where}" if text else f"{type(error).__name__}{where}"
