"""The process in which a package is loaded and predicts once before it is registered: see `load_check`.

Run as a file, `python -I -S load_check_process.py REQUEST`: it has the standard library, and no installed package
before its own finder is in place. Importing this module does nothing.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pickle
import platform
import sys
import sysconfig
import traceback
from importlib.machinery import PathFinder
from inspect import currentframe
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType

# Of the system, and the same wherever the package goes, or of no influence on what it answers.
SYSTEM = (
    "/dev/", "/proc/", "/sys/", "/lib/", "/lib32/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/usr/share/", "/usr/local/lib/",
    "/etc/alternatives/", "/etc/fonts/", "/etc/group", "/etc/host", "/etc/ld.so", "/etc/localtime", "/etc/lsb-release",
    "/etc/machine-id", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/os-release", "/etc/passwd", "/etc/protocols",
    "/etc/resolv.conf", "/etc/services", "/etc/ssl/", "/etc/timezone", "/opt/cuda", "/run/nvidia", "/var/cache/fontconfig",
)  # fmt: skip
READ = 1 << 2 | 1 << 3  # Landlock: of files, of folders
BY_VALUE = "<dynamic-code>"  # the file that cloudpickle gives to the code of functions which it keeps by value
PASSED = ("importlib", "pkgutil.py")  # of the standard library: what asks through these is who called them


class LoadWatch:
    """What is imported, opened and asked for while the package is loaded and predicts.

    Attributes:
        granted: distributions whose modules may be imported.
        asked: of these, those that only the project's own code asked for, without its being said beforehand.
        refused: top-level modules that were looked for and are of no granted distribution.
        unknown: those that the project's code looked for and that are of no distribution at all.
        reads: what was read outside, each with the line of the project that led to it.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.search: list[str] = request["search"]
        self.owners: dict[str, list[str]] = request["owners"]
        self.infos: dict[str, str] = request["infos"]
        self.libraries: list[str] = request["libraries"]
        self.links = Path(request["links"])
        self.granted = set(request["granted"])
        self.asked: list[str] = []
        self.refused: list[str] = []
        self.unknown: list[str] = []
        self.reads: dict[str, tuple[str, str]] = {}
        standard = sysconfig.get_paths()
        self.standard = tuple({f"{standard[name]}/" for name in ("stdlib", "platstdlib")})
        self.ours = f"{request['ours']}/"
        shared = [
            f"{prefix}/{name}/"
            for prefix in {sys.base_prefix, request["prefix"]}
            for name in ("lib", "lib64", "share", "etc")
        ]
        self.inside = tuple(
            os.path.realpath(each) + "/"
            for each in (request["package"], request["scratch"], request["links"], *self.standard, self.ours, *shared)
        )
        self.places = tuple(f"{os.path.realpath(each)}/" for each in self.search)

    # ------------------------------------------------------------------------------------------ imports

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module of a granted distribution. What the project's own code asks for is granted, and noted."""
        if path is not None or fullname.startswith("headrace_project_"):
            return None
        holders = self.owners.get(fullname, [])
        if self.granted.isdisjoint(holders):
            if not self._is_projects(currentframe()):
                self.refused.append(fullname)
                return None
            if not holders:
                self.unknown.append(fullname)
                return None
            for name in holders:
                self.grant(name)
                self.asked.append(name)
        return PathFinder.find_spec(fullname, self.search, target)

    def grant(self, name: str) -> None:
        """Lets a distribution be imported, and `importlib.metadata` find it."""
        self.granted.add(name)
        info = self.infos.get(name)
        link = self.links / Path(info).name if info else None
        if link is not None and not link.exists():
            link.symlink_to(info or "")
            importlib.invalidate_caches()

    def _is_projects(self, frame: FrameType | None) -> bool:
        """Whether the code that asks, without the machinery in between, is the project's."""
        while frame is not None:
            file = frame.f_code.co_filename
            passes = (
                (file.startswith("<") and file != BY_VALUE)
                or file == __file__
                or file.endswith("headrace/environments/importing.py")
            )
            if not passes and not file.startswith(tuple(f"{each}{name}" for each in self.standard for name in PASSED)):
                return self.is_project(file)
            frame = frame.f_back
        return False

    def is_project(self, file: str) -> bool:
        """Whether a file of code is not of Python, of Headrace, or of an installed library."""
        if file == BY_VALUE:
            return True
        if file.startswith(("<", self.ours, *self.standard)) or file == __file__:
            return False
        return not file.startswith((*self.places, *(f"{each}/" for each in self.search)))

    # ------------------------------------------------------------------------------------------ reading

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Notes what is read that is neither in the package nor of what is installed."""
        if event == "open":
            self._opened(*arguments)
        elif event in ("os.listdir", "os.scandir"):
            self._opened(arguments[0] if arguments[0] is not None else ".", None, 0)
        elif event == "sqlite3.connect":
            self._opened(str(arguments[0]).removeprefix("file:").partition("?")[0], None, 0)
        elif event in ("socket.connect", "socket.sendto"):
            address = arguments[1]
            if isinstance(address, tuple):
                self._read(f"connects to {address[0]}:{address[1]}")
        elif event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec") and self._is_nearest():
            self._read(
                f"starts the program {os.fsdecode(arguments[0] or '') if not isinstance(arguments[0], list) else arguments[0][0]}"
            )

    def _opened(self, path: object, _: object, flags: object) -> None:
        if isinstance(path, int) or not isinstance(path, str | bytes | os.PathLike):
            return
        if isinstance(flags, int) and flags & os.O_ACCMODE == os.O_WRONLY:
            return
        file = os.path.realpath(os.fsdecode(path))
        if file.startswith((*self.inside, *SYSTEM)) or f"{file}/".startswith(self.inside) or not Path(file).exists():
            return
        if self._is_installed(file):
            return
        self._read(f"reads {file}")

    def _is_installed(self, file: str) -> bool:
        """Whether a file lies where libraries are installed, and is not of one that was not granted."""
        for place in self.places:
            if f"{file}/" == place:
                return True
            if file.startswith(place):
                holders = self.owners.get(file.removeprefix(place).partition("/")[0].partition(".")[0], [])
                return not holders or not self.granted.isdisjoint(holders)
        return False

    def _is_nearest(self) -> bool:
        frame = currentframe()
        while frame is not None and (
            not self.is_project(frame.f_code.co_filename)
            and frame.f_code.co_filename.startswith(("<", __file__, *self.standard))
        ):
            frame = frame.f_back
        return frame is not None and self.is_project(frame.f_code.co_filename)

    def _read(self, what: str) -> None:
        frame = currentframe()
        while frame is not None and not self.is_project(frame.f_code.co_filename):
            frame = frame.f_back
        where = "" if frame is None else _place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        self.reads.setdefault(what, (what, where))

    def confine(self) -> None:
        """Lets the kernel refuse what is not to be read, also to libraries that open files without Python: Landlock.

        Without effect where the kernel has none; then only what Python opens is seen.
        """
        if platform.system() != "Linux":
            return
        kernel = ctypes.CDLL(None, use_errno=True)
        handled = ctypes.c_uint64(READ)
        rules = kernel.syscall(444, ctypes.byref(handled), ctypes.c_size_t(8), 0)
        if rules < 0:
            return
        for place in (*self.inside, *self.places, *self.libraries, *SYSTEM, "/usr/bin", "/bin", "/etc"):
            try:
                opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            allowed = READ if Path(place).is_dir() else READ & ~(1 << 3)
            rule = allowed.to_bytes(8, sys.byteorder) + opened.to_bytes(4, sys.byteorder)
            kernel.syscall(445, rules, 1, rule, 0)
            os.close(opened)
        kernel.prctl(38, 1, 0, 0, 0)
        kernel.syscall(446, rules, 0)
        os.close(rules)


def main(request: dict[str, Any]) -> None:
    """Loads, asks, writes what was answered and seen."""
    watch = LoadWatch(request)
    sys.prefix = sys.exec_prefix = request["prefix"]
    import site

    site.setquit()
    for name in sorted(watch.granted):
        watch.grant(name)
    sys.path.append(str(watch.links))
    sys.meta_path.append(watch)  # pyright: ignore[reportArgumentType]  # a finder needs no more
    sys.dont_write_bytecode = True
    result: dict[str, Any] = {"error": None, "missing": None, "answers": None}
    try:
        watch.confine()  # before anything starts a thread: it holds for this one and those that it starts
        sys.addaudithook(watch.audit)
        rows = _rows(request["rows"])
        loader = importlib.import_module(request["loader"])
        result["answers"] = loader._load_pyfunc(request["package"]).predict(rows)  # noqa: SLF001  # MLflow calls it so
    except BaseException as error:  # noqa: BLE001  # whatever the user's code raises is told
        result |= _told(error, watch)
    with open(request["answer"], "wb") as file:  # noqa: PTH123
        pickle.dump(
            {
                **result,
                **{name: getattr(watch, name) for name in ("asked", "refused", "unknown")},
                "reads": list(watch.reads.values()),
            },
            file,
        )


def _rows(file: str) -> Any:
    with open(file, "rb") as opened:  # noqa: PTH123
        return pickle.load(opened)  # noqa: S301  # written by the process that started this one


def _place(file: str, line: int | None, function: str) -> str:
    return f"line {line}, in {function}()" if file == BY_VALUE else f"{file}:{line}, in {function}()"


def _told(error: BaseException, watch: LoadWatch) -> dict[str, Any]:
    """The error as texts: the first of its chain, which module was missing, and the project's lines."""
    first: BaseException = error
    missing = None
    while True:
        if isinstance(first, ModuleNotFoundError) and first.name:
            missing = first.name.partition(".")[0]
        following = first.__cause__ or (None if first.__suppress_context__ else first.__context__)
        if following is None:
            break
        first = following
    frames = [
        frame
        for each in (first, error)
        for frame in traceback.extract_tb(each.__traceback__)
        if watch.is_project(frame.filename)
    ]
    lines = [
        f"{_place(frame.filename, frame.lineno, frame.name)}{f': {frame.line}' if frame.line else ''}"
        for frame in frames
    ]
    return {
        "error": "".join(traceback.format_exception_only(first)).strip(),
        "missing": missing,
        "lines": list(dict.fromkeys(lines)),
    }


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
