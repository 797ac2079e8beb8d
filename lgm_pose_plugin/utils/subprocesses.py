"""Python processes of our own, for what may crash or must not disturb."""
import sys
from typing import Any, List


def function_command(module: str, function: str, *args: Any) -> List[str]:
    """Make the command of a process that calls one function.

    The process finds modules where this one does, whatever its environment.

    Args:
        module (str): The function's module.
        function (str): Its name.
        *args: Its arguments, which ``repr`` writes as Python reads them.

    Returns:
        list[str]: The command.
    """
    call = ', '.join(map(repr, args))
    return [
        sys.executable, '-c', f'import sys; sys.path[:] = {sys.path!r}; '
        f'from {module} import {function}; {function}({call})'
    ]
