"""Packages that are not installed with siame-se3 itself."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from siame_se3.errors import InputError


def needs(module: str, extra: str) -> ModuleType:
    """An optional package's module, imported.

    Args:
        module: its name, such as 'timm' or 'torch.utils.tensorboard'.
        extra: the extra of siame-se3 that brings it, such as 'train'.

    Raises:
        InputError: it, or a package that it needs, is not installed or cannot be loaded.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        raise InputError(f'{missing} is not installed; pip install "siame-se3[{extra}]"') from None
    except ImportError as error:  # such as a library of the system that it is linked to
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise InputError(
            f'{module} cannot be loaded ({reason}); pip install --force-reinstall "siame-se3[{extra}]"'
        ) from None
