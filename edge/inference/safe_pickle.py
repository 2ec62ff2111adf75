"""Reads a pickle without running any of it: into plain data, and inert records in place of objects.

A pickle is a program that names the functions and classes it calls. This reader admits only the names in `RECORDS` and
a few of numpy's, and gives each a stand-in of this module that only stores its arguments. Nothing of scikit-learn or
numpy is called while a pickle is read; `edge.inference.knn` builds the real objects from records that it has checked.
"""

import io
import pickle
import pickletools
import warnings
from typing import Any, ClassVar, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError

OPCODES = frozenset({
    "APPEND", "APPENDS", "BINBYTES", "BINFLOAT", "BINGET", "BININT", "BININT1", "BININT2", "BINUNICODE", "BUILD",
    "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "FRAME", "LONG1", "LONG_BINGET", "MARK", "MEMOIZE", "NEWFALSE", "NEWOBJ",
    "NEWTRUE", "NONE", "PROTO", "REDUCE", "SETITEM", "SETITEMS", "SHORT_BINBYTES", "SHORT_BINUNICODE", "STACK_GLOBAL",
    "STOP", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
})  # fmt: skip
"""What protocol 4 needs for such a pipeline. Left out above all: EXT1..4 (a cache in copyreg goes past `find_class`),
PERSID, INST and OBJ (other ways to call), and PUT and LONG_BINPUT (which make room for any index)."""
MAX_OPERATIONS = 10_000
"""Most opcodes in a pickle; that of a pipeline has about 500."""
DTYPES = {"f4": "<f4", "f8": "<f8", "i1": "|i1", "i4": "<i4", "i8": "<i8"}
"""The admitted types of numbers, as stored: little-endian."""
MAX_DIMENSIONS = 2

_REFUSALS = (
    pickle.UnpicklingError, TypeError, ValueError, AttributeError, LookupError, EOFError, MemoryError, OverflowError,
    RecursionError, ImportError,
)  # fmt: skip
"""What the unpickler raises for a faulty pickle; a UnicodeDecodeError is a ValueError."""


class Record:
    """An object in the pickle: the name of its class, and its attributes as stored."""

    __slots__ = ("state",)
    kind: ClassVar[str]
    state: dict[str, Any]

    def __setstate__(self, state: object) -> None:
        """Store the attributes (the opcode BUILD calls this)."""
        if type(state) is not dict or hasattr(self, "state") or not all(type(key) is str for key in state):
            raise pickle.UnpicklingError(f"a {self.kind} has no such state")
        self.state = state


class Array:
    """An array in the pickle; it has `value` once its content was checked."""

    __slots__ = ("value",)
    value: NDArray[Any]

    def __setstate__(self, state: object) -> None:
        """Store version, shape, dtype, order and bytes, as ``ndarray.__reduce__`` wrote them."""
        match state:
            case (1, tuple() as shape, _Dtype() as dtype, bool() as fortran, bytes() as raw):
                pass
            case _:
                raise pickle.UnpicklingError("an array has no such state")
        if len(shape) > MAX_DIMENSIONS or not all(type(side) is int and side >= 0 for side in shape):
            raise pickle.UnpicklingError(f"an array has the impossible shape {shape}"[:100])
        flat = np.frombuffer(raw, dtype.code)
        self.value = flat.reshape(shape, order="F" if fortran else "C").copy()


class _Dtype:
    """A dtype in the pickle. Never numpy's own: `dtype.__setstate__` would change one that the whole process shares."""

    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        if code not in DTYPES:
            raise pickle.UnpicklingError(f"dtype {code!r} is not admitted"[:100])
        self.code = DTYPES[code]

    def __setstate__(self, state: object) -> None:
        """Accept what ``dtype.__reduce__`` wrote for a plain number."""
        if state != (3, self.code[0], None, None, None, -1, -1, 0):
            raise pickle.UnpicklingError("a dtype has no such state")


class _Function:
    """A function that a pickle may call; the opcode BUILD must not change it."""

    __slots__ = ()

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("a function has no state")


class _Reconstruct(_Function):
    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> Array:
        if kind is not Array or shape != (0,) or code != b"b":
            raise pickle.UnpicklingError("an array is built in an unknown way")
        return Array()


class _Scalar(_Function):
    __slots__ = ()

    def __call__(self, dtype: object, raw: object) -> float:
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("a number is built in an unknown way")
        (value,) = np.frombuffer(raw, dtype.code)
        return cast("float", value.item())


class _MakeDtype(_Function):
    __slots__ = ()

    def __call__(self, code: object, align: object, copy: object) -> _Dtype:
        if type(code) is not str or align is not False or copy is not True:
            raise pickle.UnpicklingError("a dtype is built in an unknown way")
        return _Dtype(code)


RECORDS: dict[tuple[str, str], type[Record]] = {
    (module, name): type(name, (Record,), {"__slots__": (), "kind": name})
    for module, name in (
        ("sklearn.pipeline", "Pipeline"),
        ("sklearn.preprocessing._data", "StandardScaler"),
        ("sklearn.discriminant_analysis", "LinearDiscriminantAnalysis"),
        ("sklearn.neighbors._classification", "KNeighborsClassifier"),
    )
}
_NUMPY: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): _MakeDtype(),
    # numpy 1 and numpy 2 have it in different places
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy.core.multiarray", "scalar"): _Scalar(),
    ("numpy._core.multiarray", "scalar"): _Scalar(),
}


def read_pickle(content: bytes) -> object:
    """Read a pickle that was written with protocol 4.

    Raises `BundleError`: it names anything else, holds an opcode that such a pickle does not need, or is no pickle;
    nothing was run.

    Returns
    -------
    Plain data (None, bool, int, float, str, bytes, list, tuple, dict), with a `Record` for each object of
    scikit-learn and an `Array` for each of numpy. The structure may be cyclic, and an `Array` or `Record` may lack its
    content.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a bad escape in the text of an opcode that is then refused
            _check_opcodes(content)
        return _Unpickler(io.BytesIO(content)).load()
    except _REFUSALS as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BundleError(f"refused: {reason}") from None


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        found = RECORDS.get((module, name)) or _NUMPY.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which a landmark KNN does not need"[:200])
        return found


def _check_opcodes(content: bytes) -> None:
    end = 0
    for count, (opcode, argument, position) in enumerate(pickletools.genops(content), start=1):
        if opcode.name not in OPCODES:
            raise pickle.UnpicklingError(f"it holds the opcode {opcode.name}, which a landmark KNN does not need")
        if opcode.name == "PROTO" and argument != 4:
            raise pickle.UnpicklingError(f"it is written in protocol {argument}, expected 4")
        if count > MAX_OPERATIONS:
            raise pickle.UnpicklingError(f"it has more than {MAX_OPERATIONS} operations")
        end = position or 0
    if end != len(content) - 1:
        raise pickle.UnpicklingError(f"{len(content) - 1 - end} bytes follow its end")
