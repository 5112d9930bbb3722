"""The documents of the assistant: what the docstrings of Python's standard library say, one row a function, class or method."""

import importlib
import inspect
import re
import warnings

import pyarrow as pa

MODULES = """
    argparse base64 bisect bz2 calendar collections concurrent.futures configparser contextlib copy csv dataclasses
    datetime decimal difflib email.utils enum fileinput fnmatch fractions functools getpass glob gzip hashlib heapq
    hmac html http.client inspect ipaddress itertools json linecache logging logging.handlers math mimetypes
    operator os os.path pathlib pickle platform pprint queue random re secrets shelve shlex shutil signal smtplib
    socket sqlite3 statistics string struct subprocess tarfile tempfile textwrap threading time timeit traceback
    unicodedata urllib.parse urllib.request uuid warnings weakref webbrowser xml.etree.ElementTree zipfile zlib
    zoneinfo
"""
LONGEST = 1200  # characters of a docstring: its first paragraphs
SHORTEST = 8  # words; what says less answers no question
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def documents() -> pa.Table:
    """Returns a row for each docstring: `id` (`os.path.join`), `module`, `signature` and `docstring`, sorted by `id`.

    The rows are the same whenever the same version of Python makes them.
    """
    found = {}
    for module in MODULES.split():
        for name, thing in _public(importlib.import_module(module)):
            _add(found, module, name, thing)
            if inspect.isclass(thing):
                for method, function in _methods(thing, importlib.import_module(module)):
                    _add(found, module, f"{name}.{method}", function)
    rows = [found[each] for each in sorted(found)]
    return pa.Table.from_pylist(
        rows, pa.schema([(column, pa.string()) for column in ("id", "module", "signature", "docstring")])
    )


def _public(module):
    """What a module defines itself, in the order of names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = set(getattr(module, "__all__", ())) or {
            name
            for name, thing in vars(module).items()
            if getattr(thing, "__module__", None)
            in {module.__name__, f"_{module.__name__}", None, "posix", "_datetime"}
        }
        things = [(name, getattr(module, name, None)) for name in sorted(names) if not name.startswith("_")]
    return [(name, thing) for name, thing in things if callable(thing)]


def _methods(kind, module):
    """What a class defines, or inherits from a class that its module keeps to itself, as that of paths does since 3.13."""
    root = module.__name__.partition(".")[0]
    own = [
        each
        for each in kind.__mro__
        if each.__module__.partition(".")[0] == root and not hasattr(module, each.__name__)
    ]
    methods = {name: function for each in (*reversed(own), kind) for name, function in vars(each).items()}
    return [(name, methods[name]) for name in sorted(methods) if not name.startswith("_")]


def _add(found, module, name, thing):
    thing = getattr(thing, "__func__", thing)
    text = inspect.cleandoc(thing.__doc__) if isinstance(getattr(thing, "__doc__", None), str) else ""
    if len(text.split()) < SHORTEST or not (callable(thing) or isinstance(thing, property)):
        return
    identifier = f"{module}.{name}"
    found[identifier] = {
        "id": identifier,
        "module": module,
        "signature": f"{identifier}{_signature(thing)}",
        "docstring": _beginning(text),
    }


def _signature(thing):
    try:
        return ADDRESS.sub("", str(inspect.signature(thing)))
    except (TypeError, ValueError):
        return ""


def _beginning(text):
    """The first paragraphs, as many as fit."""
    kept, length = [], 0
    for paragraph in text.split("\n\n"):
        if kept and length + len(paragraph) > LONGEST:
            break
        kept.append(paragraph[:LONGEST])
        length += len(paragraph)
    return ADDRESS.sub("", "\n\n".join(kept))
