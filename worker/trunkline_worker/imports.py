"""What the operator's files name as `package.module:name`."""

import importlib
import os
import sys
from functools import reduce
from typing import Any


def load_object(path: str) -> Any:
    """Looks in the directory that the worker was started in, too. Runs the module's code, which may
    take seconds. Raises ValueError, whose `str()` tells the operator what is wrong.
    """
    module, _, names = path.partition(":")
    if not (module and names):
        raise ValueError(f"{path!r} is not of the form package.module:name")
    here = os.getcwd()
    if not {"", here} & set(sys.path):
        sys.path.insert(0, here)
    try:
        loaded = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the operator's code raises
        raise ValueError(f"{path}: {module} cannot be imported: {_said(error)}") from error
    try:
        return reduce(getattr, names.split("."), loaded)
    except AttributeError as error:
        raise ValueError(f"{path}: there is no {names} in {module}") from error


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
