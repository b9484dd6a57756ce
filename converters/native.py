"""Functions that C could call, as machine code: compiled by numba once, kept, and from then on loaded by LLVM alone.

numba takes half a second to load what it has kept itself, LLVM a twentieth. What is kept is for one kind of processor.
"""

import ctypes
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.compiled import digest
from converters.errors import DiskFullError
from converters.storage.files import write_file

NativeFunction = Callable[..., int]
"""Takes contiguous arrays, of the data types that it was compiled for, and returns a number."""

_WORTH_LOADING = 1 << 23
WORTH_COMPILING = 1 << 28
"""Voxels of a process from which on it compiles a function that is not kept."""
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Native:
    """A function to be had as machine code: the module that has it, its name, and the data types of the arrays that it takes.

    The function gets pointers and may neither raise nor make arrays. `bytes`: an array of uint8, which it gets as a pointer to
    anything. What it calls of the modules in its folder is `compiled`.
    """

    module: str
    name: str
    dtypes: tuple[str, ...]


def keep_in(folder: Path | None) -> None:
    """Keep code in this folder from now on; None: beside its module, else in the user's cache."""
    _chosen.clear()
    _chosen.extend([folder] if folder else [])


def kept_in() -> Path | None:
    """Return the folder that keep_in was told."""
    return _chosen[0] if _chosen else None


def is_worth_it(function: Native, voxels: int) -> bool:
    """Tell whether a function spares more time than it takes to be had, if a process calls it for so many voxels.

    It takes some hundredths of a second to load; some seconds to compile, but that is for all processes to come.
    """
    return voxels >= WORTH_COMPILING or (voxels >= _WORTH_LOADING and _kept(function) is not None)


@cache
def loaded(function: Native) -> NativeFunction:
    """Return a function to call; it is compiled if it is not kept, which takes seconds."""
    code = _kept(function)
    if code is None:
        code = _compile(function)
        _keep(function, code)
    return _linked(code, function)


_chosen: list[Path] = []


def _folders(function: Native) -> list[Path]:
    """Return where code may be, the best place first."""
    if _chosen:
        return [*_chosen]
    folders = [_source(function).parent / "__pycache__"]
    with suppress(RuntimeError):
        folders.append(Path("~/.cache/glassine").expanduser())
    return folders


def _source(function: Native) -> Path:
    spec = find_spec(function.module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{function.module} has no file that it could be compiled from")
    return Path(spec.origin)


def _kept(function: Native) -> bytes | None:
    for folder in _folders(function):
        with suppress(OSError):
            held = (folder / _file_name(function)).read_bytes()
            if hashlib.sha256(held[_DIGEST_BYTES:]).digest() == held[:_DIGEST_BYTES]:
                return held[_DIGEST_BYTES:]
    return None


def _keep(function: Native, code: bytes) -> None:
    for folder in _folders(function):
        with suppress(OSError, DiskFullError):
            folder.mkdir(parents=True, exist_ok=True)
            write_file(folder / _file_name(function), hashlib.sha256(code).digest() + code)
            return


@cache
def _file_name(function: Native) -> str:
    """Return a name that is another one for other sources, libraries and processors."""
    import llvmlite.binding as llvm

    libraries = [version("numba"), version("llvmlite"), version("numpy")]
    processor = [llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    told = "\n".join([digest(_source(function).parent), *libraries, *processor, *function.dtypes])
    return f"{function.module.rpartition('.')[2]}.{function.name}-{hashlib.sha256(told.encode()).hexdigest()[:32]}.o"


def _compile(function: Native) -> bytes:
    """Return the object code of a function, its symbol the function's name."""
    import llvmlite.binding as llvm
    from numba import cfunc, types

    plain = getattr(import_module(function.module), function.name)
    text = cfunc(types.int64(*map(_pointer, function.dtypes)), error_model="numpy")(plain).inspect_llvm()
    module, machine = llvm.parse_assembly(text), _machine()
    for each in module.functions:
        if each.name.startswith("cfunc."):
            each.name = function.name
        elif not each.is_declaration:
            each.linkage = "internal"
    # What it needs of Python is for errors, which it does not raise: that goes once all is one function.
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(module, passes)
    unknown = [each.name for each in module.functions if each.is_declaration and not each.name.startswith("llvm.")]
    if unknown:
        raise TypeError(f"{function.name} raises, makes arrays or calls Python: it needs {unknown}, which LLVM alone cannot find")
    code: bytes = machine.emit_object(module)
    return code


def _pointer(dtype: str) -> Any:
    from numba import from_dtype, types

    numba_types: Any = types
    return types.voidptr if dtype == "bytes" else numba_types.CPointer(from_dtype(np.dtype(dtype)))


def _machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    processor = {"cpu": llvm.get_host_cpu_name(), "features": llvm.get_host_cpu_features().flatten()}
    return llvm.Target.from_default_triple().create_target_machine(
        **processor, opt=3, reloc="default", codemodel="jitdefault", jit=True
    )


def _linked(code: bytes, function: Native) -> NativeFunction:
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    pointers = [ctypes.c_void_p] * len(function.dtypes)
    entry = ctypes.CFUNCTYPE(ctypes.c_int64, *pointers)(engine.get_function_address(function.name))
    return _Linked(engine, entry, tuple(np.dtype("uint8" if dtype == "bytes" else dtype) for dtype in function.dtypes))


@dataclass(frozen=True)
class _Linked:
    """engine: has the code's memory as long as it lives itself."""

    engine: Any
    entry: Any
    dtypes: tuple[np.dtype[Any], ...]

    def __call__(self, *arrays: NDArray[Any]) -> int:
        for array, dtype in zip(arrays, self.dtypes, strict=True):
            if array.dtype != dtype or not array.flags.c_contiguous:
                raise TypeError(f"array of {array.dtype}, expected contiguous {dtype}: its memory would be taken for another's")
        result: int = self.entry(*[array.ctypes.data for array in arrays])
        return result
