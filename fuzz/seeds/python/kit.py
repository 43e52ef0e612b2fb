"""Module.

Example:
    >>> get(1)
    1
"""
from .core import A as A, *
__all__ = ["get", "C"]
__all__ += ["D"]
@overload
async def get(x: int, *, y: str = "a") -> bytes:
    """Gets ``x``.

    Args:
        x (int): One,
            two.

    Parameters
    ----------
    y : str
        Text.

    :param z: Three.
    :returns: :class:`~a.B`

    .. code-block:: python

       a = 1
    """
class C(Base, metaclass=M):
    a: int = 1
    """Doc."""
    @property
    def p(self): ...
    @p.setter
    def p(self, v): ...
if TYPE_CHECKING:
    D = 1
